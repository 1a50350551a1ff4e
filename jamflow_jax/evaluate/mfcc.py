"""Mel-frequency cepstral coefficients as speech tools at 16 kHz have them (Davis and Mermelstein 1980).

    y[n] = x[n] - 0.97 x[n - 1];   P = |rfft(25 ms of y, 512)|^2 / 512 every 10 ms, no window                         (1)
    c_k = sum_f cos(pi k (f + 1/2) / F) log(P H)_f, orthonormal, k < 13;   c_0 = log of the frame's energy            (2)
    c_k <- c_k (1 + 11 sin(pi k / 22))                                                                                (3)

F = 26 triangular bands from 0 to 8 kHz, evenly on 2595 log10(1 + nu / 700), with corners at whole FFT bins. These are the
conventions that SyncNet's audio branch was trained with (samples on the scale of 16-bit integers).
"""
import numpy as np
import scipy.fft
from jaxtyping import Float

RATE = 16_000  # Hz
_WINDOW, _HOP, _FFT, _BANDS, _COEFFICIENTS, _LIFTER = 400, 160, 512, 26, 13, 22


def mfcc(audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "K 13"]:
    """Equations 1 to 3 of samples in [-1, 1] at 16 kHz, 100 frames a second, the last one padded with zeros."""
    x_N = np.asarray(audio_N, np.float64) * 32768.0
    y_N = np.concatenate([x_N[:1], x_N[1:] - 0.97 * x_N[:-1]])
    frames = 1 + max(0, -(-(len(y_N) - _WINDOW) // _HOP))
    y_N = np.pad(y_N, (0, max(0, (frames - 1) * _HOP + _WINDOW - len(y_N))))
    y_KN = y_N[np.arange(frames)[:, None] * _HOP + np.arange(_WINDOW)]
    power_KB = np.abs(scipy.fft.rfft(y_KN, _FFT, axis=1)) ** 2 / _FFT
    tiny = np.finfo(np.float64).eps
    energy_K = np.maximum(power_KB.sum(1), tiny)
    bands_KF = np.log(np.maximum(power_KB @ _FILTERS.T, tiny))
    c_KC = scipy.fft.dct(bands_KF, type=2, axis=1, norm="ortho")[:, :_COEFFICIENTS]
    c_KC = c_KC * (1 + _LIFTER / 2 * np.sin(np.pi * np.arange(_COEFFICIENTS) / _LIFTER))
    c_KC[:, 0] = np.log(energy_K)
    return c_KC


def _filters() -> np.ndarray:
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = np.floor((_FFT + 1) * 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1) / RATE)
    bins = np.arange(_FFT // 2 + 1)
    rise = (bins - corners[:-2, None]) / np.maximum(np.diff(corners)[:-1, None], 1)
    fall = (corners[2:, None] - bins) / np.maximum(np.diff(corners)[1:, None], 1)
    return np.where(bins < corners[1:-1, None], np.clip(rise, 0, None), np.clip(fall, 0, None)) * (
        (bins >= corners[:-2, None]) & (bins <= corners[2:, None])
    )


_FILTERS = _filters()
