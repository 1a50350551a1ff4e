"""A waveform from a log-mel without a trained vocoder: non-negative unfolding of the bands, then fast Griffin-Lim.

The magnitudes S >= 0 with S H = exp(mel) are found by multiplicative updates, which keep S positive and weigh relative errors
(the minimum of the Kullback-Leibler divergence; Lee and Seung 2001, eq. 5):

    S <- S * ((exp(mel) / (S H)) H^T) / (1 H^T)                                                                      (1)

The phases follow from alternating projections with momentum (Perraudin, Balazs, Soendergaard 2013, alg. 2), P being
stft(istft(.)):

    c_n = P(S exp(i angle(t_n-1))),    t_n = c_n + a (c_n - c_n-1)                                                   (2)
"""
import numpy as np
from jaxtyping import Float

from jamflow_jax.audio.mel import FILTERS, SILENCE
from jamflow_jax.audio.stft import BINS, OVERLAP, WINDOW, istft, stft
from jamflow_jax.errors import InputError
from jamflow_jax.timeline import MEL_BINS

_UNFOLDING = 30  # updates of equation 1
_LOUDEST = float(np.log(WINDOW.sum() * FILTERS.sum(0).max()))  # no sound within [-1, 1] has a band above this


def magnitudes(log_mel_TF: Float[np.ndarray, "T 100"]) -> Float[np.ndarray, "T 513"]:
    """Linear-frequency magnitudes whose bands have the given log-mel, by equation 1 from a flat start."""
    mel = np.exp(np.clip(log_mel_TF, SILENCE, _LOUDEST), dtype=np.float32)
    back = FILTERS.T / np.maximum(FILTERS.sum(1), 1e-8)  # 0 Hz and 12 kHz lie in no band: their weight, and S, is 0
    S = mel @ back
    for _ in range(_UNFOLDING):
        S *= (mel / np.maximum(S @ FILTERS, 1e-12)) @ back
    return S


def griffin_lim(
    log_mel_TF: Float[np.ndarray, "T 100"], iterations: int = 60, seed: int = 0, momentum: float = 0.99
) -> Float[np.ndarray, "N"]:
    """Sound with the given log-mel: (T - 1) * 256 float32 samples at 24 kHz, the same for the same arguments.

    Args:
      log_mel_TF: F5-TTS log-mel (`mel.log_mel`); values outside what sound in [-1, 1] can have are clipped.
      iterations: rounds of equation 2; 60 take about a tenth of the sound's own length on one core.
      seed: of the random first phases.
      momentum: a in equation 2; 0 is the original algorithm.

    Raises:
      InputError: another shape, fewer than 5 frames, or values that are not finite.
    """
    log_mel_TF = np.asarray(log_mel_TF)
    if log_mel_TF.ndim != 2 or log_mel_TF.shape[1] != MEL_BINS:
        raise InputError(f"log-mel has shape {log_mel_TF.shape}; expected [frames, {MEL_BINS}]")
    if len(log_mel_TF) <= OVERLAP:
        raise InputError(f"log-mel has {len(log_mel_TF)} frames; a waveform needs at least {OVERLAP + 1}")
    if not np.isfinite(log_mel_TF).all():
        raise InputError("log-mel holds values that are not finite")
    S = magnitudes(log_mel_TF)
    turns = np.random.default_rng(seed).random((len(S), BINS), np.float32)
    spectrum = S * np.exp(np.complex64(2j * np.pi) * turns)
    previous = None
    for _ in range(iterations):
        consistent = stft(istft(spectrum))
        ahead = consistent if previous is None else consistent + np.float32(momentum) * (consistent - previous)
        spectrum = S * (ahead / np.maximum(np.abs(ahead), 1e-12))
        previous = consistent
    return istft(spectrum)
