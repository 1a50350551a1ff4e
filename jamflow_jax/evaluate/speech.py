"""How near generated speech is to the truth: spectrum, pitch and loudness, along the path that aligns the two (alignment.py).

With levels in dB, L = 20 / ln 10 times the log-mel, floored FLOOR dB under the truth's loudest band (what lies below is silence),

    mel distance   mean over the path of sqrt(mean_f (L_x - L_y)^2)                     dB; aligned, or frame by frame   (1)
    F0 error       mean over path cells where both are voiced of 12 |log2(f_x / f_y)|   semitones                       (2)
    voicing error  share of path cells where one is voiced and the other is not                                         (3)
    energy error   mean over the path of |E_x - E_y|, E = 20 log10 of the frame's summed mel amplitudes, floored        (4)
"""
import dataclasses

import numpy as np
from jaxtyping import Float

from jamflow_jax.evaluate.alignment import warp

FLOOR = 60.0  # dB
BAND = 47  # mel frames each side: 0.5 s
_DB = 20 / np.log(10)


@dataclasses.dataclass(frozen=True)
class Distances:
    """Of one clip; pairs (a, b) as in figures.py, so that frames and not clips weigh in (2) to (4)."""

    mel: float  # dB, aligned
    mel_unaligned: float  # dB, over the frames both have
    f0: tuple[float, float]  # semitones
    voicing: tuple[float, float]
    energy: tuple[float, float]  # dB


def distances(
    mel_TF: Float[np.ndarray, "T F"], f0_T: Float[np.ndarray, "T"],
    true_mel_SF: Float[np.ndarray, "S F"], true_f0_S: Float[np.ndarray, "S"], band: int = BAND,
) -> Distances:
    """All of a clip against its truth. F0 in Hz at mel frames, nan where unvoiced (pitch.f0); a missing last one is unvoiced."""
    x_TF, y_SF = levels(mel_TF, true_mel_SF), levels(true_mel_SF, true_mel_SF)
    path_P2 = warp(x_TF, y_SF, band)
    i_P, j_P = path_P2.T
    both = min(len(x_TF), len(y_SF))
    f0_T, true_f0_S = _fit(f0_T, len(x_TF)), _fit(true_f0_S, len(y_SF))
    voiced_P, true_P = np.isfinite(f0_T[i_P]), np.isfinite(true_f0_S[j_P])
    shared_P = voiced_P & true_P
    semitones = 12 * np.abs(np.log2(f0_T[i_P][shared_P] / true_f0_S[j_P][shared_P]))
    energy_P = np.abs(energy(mel_TF, true_mel_SF)[i_P] - energy(true_mel_SF, true_mel_SF)[j_P])
    return Distances(
        float(_rms(x_TF[i_P] - y_SF[j_P]).mean()), float(_rms(x_TF[:both] - y_SF[:both]).mean()),
        (float(semitones.sum()), float(shared_P.sum())), (float((voiced_P != true_P).sum()), float(len(path_P2))),
        (float(energy_P.sum()), float(len(path_P2))),
    )  # fmt: skip


def levels(mel_TF: Float[np.ndarray, "T F"], truth_SF: Float[np.ndarray, "S F"]) -> Float[np.ndarray, "T F"]:
    """dB, nothing lower than FLOOR under the truth's loudest band."""
    return np.maximum(_DB * np.asarray(mel_TF, np.float64), _DB * float(np.max(truth_SF)) - FLOOR)


def energy(mel_TF: Float[np.ndarray, "T F"], truth_SF: Float[np.ndarray, "S F"]) -> Float[np.ndarray, "T"]:
    """E of (4), nothing lower than FLOOR under the truth's loudest frame."""
    E_T, truth_S = (_DB * np.log(np.exp(np.asarray(m, np.float64)).sum(1)) for m in (mel_TF, truth_SF))
    return np.maximum(E_T, truth_S.max() - FLOOR)


def _rms(x_PF: np.ndarray) -> np.ndarray:
    return np.sqrt((x_PF**2).mean(1))


def _fit(values_T: np.ndarray, frames: int) -> Float[np.ndarray, "T"]:
    values_T = np.asarray(values_T, np.float64)[:frames]
    return np.pad(values_T, (0, frames - len(values_T)), constant_values=np.nan)
