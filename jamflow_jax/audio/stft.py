"""The short-time Fourier transform that F5-TTS's mel and Vocos share, for NumPy and for JAX.

Frame j of a signal x of N samples is centred on sample 256 j of the signal, reflected at both ends:

    X[j, k] = sum_n w[n] x~[256 j + n - 512] exp(-2 pi i k n / 1024),    0 <= j <= N // 256                          (1)
    w[n] = 1/2 - 1/2 cos(2 pi n / 1024)            the periodic Hann window

    x^[m] = sum_j w[m - 256 j] y_j[m - 256 j] / sum_j w[m - 256 j]^2,    y_j = irfft(X[j])                           (2)

(2) is the least-squares inverse: it gives the signal back when X belongs to one. Windows of four hops make framing and
overlap-add four shifted slices, so neither gathers nor scatters.
Source: torch.stft and torch.istft with center=True, pad_mode="reflect".
"""
from types import ModuleType

import jax
import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex, Float

from jamflow_jax.errors import InputError
from jamflow_jax.timeline import HOP, SAMPLE_RATE

N_FFT = 1024  # samples of the window and of the transform
BINS = N_FFT // 2 + 1
OVERLAP = N_FFT // HOP  # windows over each sample
WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)
Array = np.ndarray | jax.Array


def reflect(audio_BN: Float[Array, "*B N"], xp: ModuleType = np) -> Float[Array, "*B N+1024"]:
    """Half a window reflected (without the edge sample) at both ends, so that frames are centred.

    Raises:
      InputError: not floating point, or shorter than one window (1024 samples, 43 ms).
    """
    if not xp.issubdtype(audio_BN.dtype, xp.floating):
        raise InputError(f"audio is {audio_BN.dtype}; it must be floating point in [-1, 1]")
    samples = audio_BN.shape[-1]
    if samples < N_FFT:
        least = f"{N_FFT} ({1000 * N_FFT / SAMPLE_RATE:.0f} ms at 24 kHz)"
        raise InputError(f"audio has {samples} samples; a mel needs at least {least}")
    edges = [(0, 0)] * (audio_BN.ndim - 1) + [(N_FFT // 2, N_FFT // 2)]
    return xp.pad(audio_BN.astype(np.float32), edges, mode="reflect")


def spectra(padded_BN: Float[Array, "*B N"], xp: ModuleType = np) -> Complex[Array, "*B T 513"]:
    """Every whole frame of a signal that `reflect` has padded, or of a piece of one cut at multiples of the hop."""
    count = padded_BN.shape[-1] // HOP  # hops; the last three start no frame
    hops = padded_BN[..., : count * HOP].reshape(*padded_BN.shape[:-1], count, HOP)
    frames = xp.concatenate([hops[..., i : count - OVERLAP + 1 + i, :] for i in range(OVERLAP)], axis=-1)
    # scipy transforms several float32 rows at once: 0.43 ms for 256 frames against numpy's 1.7 on one core
    return (scipy.fft if xp is np else xp.fft).rfft(frames * xp.broadcast_to(WINDOW, frames.shape), axis=-1)


def stft(audio_BN: Float[Array, "*B N"], xp: ModuleType = np) -> Complex[Array, "*B T 513"]:
    """Equation 1, T = N // 256 + 1. `xp` is numpy or jax.numpy; raises as `reflect` does."""
    return spectra(reflect(audio_BN, xp), xp)


def istft(
    spectrum_BTK: Complex[Array, "*B T 513"], xp: ModuleType = np, valid_BT: Bool[Array, "*B T"] | None = None
) -> Float[Array, "*B N"]:
    """Equation 2: (T - 1) * 256 samples, for T of at least 2. `valid_BT` leaves frames out of both sums."""
    frames = (scipy.fft if xp is np else xp.fft).irfft(spectrum_BTK, N_FFT, axis=-1)
    window_BTN = np.broadcast_to(WINDOW, frames.shape[-2:]) if valid_BT is None else xp.where(valid_BT[..., None], WINDOW, 0)
    total = _overlap_add(frames * xp.broadcast_to(window_BTN, frames.shape), xp)[..., N_FFT // 2 : -N_FFT // 2]
    weight = _overlap_add(window_BTN**2, np if valid_BT is None else xp)[..., N_FFT // 2 : -N_FFT // 2]
    if valid_BT is not None:
        weight = xp.where(weight > 0, weight, 1)
    return total / xp.broadcast_to(weight, total.shape)


def _overlap_add(frames_BTN: Array, xp: ModuleType) -> Array:
    *batch, count, _ = frames_BTN.shape
    hops = frames_BTN.reshape(*batch, count, OVERLAP, HOP)
    edges = [(0, 0)] * len(batch)
    shifted = (xp.pad(hops[..., i, :], [*edges, (i, OVERLAP - 1 - i), (0, 0)]) for i in range(OVERLAP))
    return sum(shifted).reshape(*batch, (count + OVERLAP - 1) * HOP)
