"""The log-mel spectrogram of F5-TTS: 24 kHz, 1024-sample windows every 256 samples, 100 HTK bands from 0 to 12 kHz.

    mel[j, f] = log max( sum_k |X[j, k]| H[k, f], 1e-5 )                                                             (1)
    H[k, f] = max(0, min((nu_k - c_f-1) / (c_f - c_f-1), (c_f+1 - nu_k) / (c_f+1 - c_f)))                            (2)

X is the transform of `stft.py`, nu_k = 12000 k / 512 Hz, and c_0 ... c_101 lie evenly on the scale m = 2595 log10(1 + nu / 700).
The bands peak at 1 (no area normalisation) and weigh amplitudes, not powers. Source: torchaudio.transforms.MelSpectrogram(power=1,
norm=None, mel_scale="htk") in F5-TTS's modules.py.
"""
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jamflow_jax.audio.stft import BINS, HOP, OVERLAP, reflect, spectra, stft
from jamflow_jax.errors import InputError
from jamflow_jax.timeline import MEL_BINS, SAMPLE_RATE, mel_frames

FLOOR = 1e-5  # smallest mel amplitude (Vocos's own features stop at 1e-7; F5-TTS feeds it these)
SILENCE = float(np.log(FLOOR))  # the log-mel of digital silence, -11.5
_CHUNK = 256  # frames transformed at once on the host: the temporaries stay in the cache


def filter_bank() -> Float[np.ndarray, "513 100"]:
    """Equation 2, float32."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    centre = 700 * (10 ** (np.linspace(0, top, MEL_BINS + 2) / 2595) - 1)
    nu = np.linspace(0, SAMPLE_RATE / 2, BINS)[:, None]
    rise = (nu - centre[:-2]) / np.diff(centre)[:-1]
    fall = (centre[2:] - nu) / np.diff(centre)[1:]
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


FILTERS = filter_bank()


def log_mel(audio_BN: Float[Array, "*B N"]) -> Float[Array, "*B T 100"]:
    """Equation 1 on the device, T = N // 256 + 1; jit-able, any leading axes, full float32 on every backend.

    Args:
      audio_BN: samples in [-1, 1] at 24 kHz. Rows padded at the end are reflected at the padding, not at their own end:
        cut a row's frames at N_row // 256 - 1 if the last two matter.

    Raises:
      InputError: not floating point, or fewer than 1024 samples.
    """
    magnitude = jnp.abs(stft(jnp.asarray(audio_BN), jnp))
    return jnp.log(jnp.maximum(jnp.matmul(magnitude, FILTERS, precision=jax.lax.Precision.HIGHEST), FLOOR))


def log_mel_numpy(audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "T 100"]:
    """Equation 1 on the host, in chunks: an hour of sound needs little more memory than its samples and its mel.

    Raises:
      InputError: more than one axis, not floating point, or fewer than 1024 samples.
    """
    audio_N = np.asarray(audio_N)
    if audio_N.ndim != 1:
        raise InputError(f"audio has shape {audio_N.shape}; log_mel_numpy takes one channel, [samples]")
    padded = reflect(audio_N)
    mel = np.empty((mel_frames(len(audio_N)), MEL_BINS), np.float32)
    for start in range(0, len(mel), _CHUNK):
        chunk = mel[start : start + _CHUNK]
        piece = padded[start * HOP : (start + len(chunk) + OVERLAP - 1) * HOP]
        chunk[:] = np.log(np.maximum(np.abs(spectra(piece)) @ FILTERS, FLOOR))
    return mel
