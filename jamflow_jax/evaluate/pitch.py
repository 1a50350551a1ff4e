"""The fundamental frequency of speech by YIN (de Cheveigne and Kawahara 2002), all frames of a clip at once.

    d_j(tau) = sum_n (x[n] - x[n + tau])^2               over half a window from frame j                              (1)
    d'_j(tau) = d_j(tau) tau / sum_{1 <= k <= tau} d_j(k)                                                             (2)
    tau_j = the first local minimum of d' below THRESHOLD, refined by a parabola;  F0 = rate / tau_j

A frame with no such minimum, or 40 dB or more below the loudest, is unvoiced. (1) is two energies and a correlation by FFT. It has
no smoothing over time, which pYIN adds at thirty times the cost: single octave errors stay, and count the same for every row.
"""
import numpy as np
import scipy.fft
from jaxtyping import Float

from jamflow_jax.timeline import HOP, SAMPLE_RATE

LOWEST, HIGHEST = 60.0, 500.0  # Hz
THRESHOLD = 0.15
QUIET = 1e-4  # of the loudest frame's energy
_DECIMATE = 2  # 12 kHz is plenty for 500 Hz


def f0(audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "T"]:
    """F0 in Hz of every mel frame (N // 256 + 1 of them, 93.75 a second), nan where unvoiced.

    Args:
      audio_N: samples at 24 kHz.
    """
    x_N = np.asarray(audio_N, np.float64)
    frames = len(x_N) // HOP + 1
    x_N = x_N[: len(x_N) // _DECIMATE * _DECIMATE].reshape(-1, _DECIMATE).mean(1)
    rate, hop = SAMPLE_RATE // _DECIMATE, HOP // _DECIMATE
    longest = int(rate / LOWEST) + 2
    window = 2 * longest  # samples compared, and as far as tau reaches
    x_N = np.pad(x_N - x_N.mean() if len(x_N) else x_N, (window, 2 * window))
    start_T = np.arange(frames) * hop + window - (window + longest) // 2
    x_TN = x_N[start_T[:, None] + np.arange(window + longest)]
    energy_T = (x_TN[:, :window] ** 2).sum(1)

    size = scipy.fft.next_fast_len(2 * window + longest, real=True)
    spectrum_TN = scipy.fft.rfft(x_TN, size)
    cross_TK = scipy.fft.irfft(spectrum_TN * np.conj(scipy.fft.rfft(x_TN[:, :window], size)), size)[:, : longest + 1]
    square_TN = np.cumsum(np.pad(x_TN**2, ((0, 0), (1, 0))), axis=1)
    moved_TK = square_TN[:, window : window + longest + 1] - square_TN[:, : longest + 1]
    d_TK = np.maximum(energy_T[:, None] + moved_TK - 2 * cross_TK, 0)
    tau_K = np.arange(longest + 1)
    normal_TK = np.ones_like(d_TK)
    normal_TK[:, 1:] = d_TK[:, 1:] * tau_K[1:] / np.maximum(np.cumsum(d_TK[:, 1:], axis=1), 1e-20)

    shortest = int(rate / HIGHEST)
    middle = normal_TK[:, shortest:-1]
    dip_TK = (middle <= normal_TK[:, shortest - 1 : -2]) & (middle < normal_TK[:, shortest + 1 :]) & (middle < THRESHOLD)
    voiced_T = dip_TK.any(1) & (energy_T > QUIET * max(energy_T.max(initial=0.0), 1e-12))
    tau_T = np.argmax(dip_TK, axis=1) + shortest
    rows = np.arange(frames)
    left, here, right = (normal_TK[rows, tau_T + step] for step in (-1, 0, 1))
    bend = left - 2 * here + right
    refined_T = tau_T + np.where(bend > 1e-12, 0.5 * (left - right) / np.where(bend > 1e-12, bend, 1), 0)
    return np.where(voiced_T, rate / refined_T, np.nan)
