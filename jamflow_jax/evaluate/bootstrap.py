"""How sure a mean over clips is: percentile bootstrap intervals, the same for the same seed.

    m_b = mean of C clips drawn with replacement, b = 1 ... resamples
    interval = quantiles (1 - level) / 2 and (1 + level) / 2 of the m_b

Clips are the unit: frames of one clip are not independent. Two systems are compared on the same clips by the interval of the
mean of their differences, which is far narrower than two separate intervals. Rates (errors per word) are ratios of sums,
sum a / sum b over the drawn clips, so that a long clip weighs more than a short one.
"""
import dataclasses

import numpy as np
from jaxtyping import Float

from jamflow_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over `count` clips and its bootstrap interval."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval(values_C: Float[np.ndarray, "C"], level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of one value per clip with its bootstrap interval.

    Raises:
      InputError: no clip, or a value that is not finite.
    """
    values_C = np.asarray(values_C, np.float64)
    if values_C.ndim != 1 or not len(values_C):
        raise InputError("a bootstrap interval needs at least one clip")
    if not np.isfinite(values_C).all():
        raise InputError(f"score of clip {np.flatnonzero(~np.isfinite(values_C))[0]} is not finite")
    means_B = values_C[_draws(len(values_C), resamples, seed)].mean(1)
    return _interval(values_C.mean(), means_B, level, len(values_C))


def paired(
    ours_C: Float[np.ndarray, "C"], theirs_C: Float[np.ndarray, "C"], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean of ours - theirs over the same clips with its bootstrap interval; a difference is sure if it excludes 0.

    Raises:
      InputError: not one value each per clip, no clip, or a value that is not finite.
    """
    ours_C, theirs_C = np.asarray(ours_C, np.float64), np.asarray(theirs_C, np.float64)
    if ours_C.shape != theirs_C.shape:
        raise InputError(f"paired scores need the same clips, got {ours_C.shape} and {theirs_C.shape}")
    return interval(ours_C - theirs_C, level, resamples, seed)


def intervals(
    values_CD: Float[np.ndarray, "C D"], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> list[Interval]:
    """`interval` of every column, from the same draws."""
    values_CD = np.asarray(values_CD, np.float64)
    if values_CD.ndim != 2 or not len(values_CD) or not np.isfinite(values_CD).all():
        raise InputError(f"bootstrap intervals need finite scores [clips, columns] of at least one clip, got {values_CD.shape}")
    C = len(values_CD)
    weight_BC = np.apply_along_axis(np.bincount, 1, _draws(C, resamples, seed), minlength=C) / C
    means_BD = weight_BC @ values_CD
    return [_interval(mean, drawn_B, level, C) for mean, drawn_B in zip(values_CD.mean(0), means_BD.T)]


def ratio(
    a_C: Float[np.ndarray, "C"], b_C: Float[np.ndarray, "C"], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """sum a / sum b over clips with its bootstrap interval; `count` is of the clips with b > 0.

    Raises:
      InputError: not one a and b per clip, no clip with b > 0, or a value that is not finite.
    """
    a_C, b_C = _rates(a_C, b_C)
    return _interval(a_C.sum() / b_C.sum(), _ratios(a_C, b_C, resamples, seed), level, int((b_C > 0).sum()))


def ratio_difference(
    a_C: Float[np.ndarray, "C"], b_C: Float[np.ndarray, "C"], other_a_C: Float[np.ndarray, "C"], other_b_C: Float[np.ndarray, "C"],
    level: float = 0.95, resamples: int = 2000, seed: int = 0,
) -> Interval:
    """sum a / sum b - sum a' / sum b' over the same clips and the same draws. Raises as `ratio` does."""
    a_C, b_C = _rates(a_C, b_C)
    other_a_C, other_b_C = _rates(other_a_C, other_b_C)
    if len(a_C) != len(other_a_C):
        raise InputError(f"paired scores need the same clips, got {len(a_C)} and {len(other_a_C)}")
    difference = a_C.sum() / b_C.sum() - other_a_C.sum() / other_b_C.sum()
    drawn_B = _ratios(a_C, b_C, resamples, seed) - _ratios(other_a_C, other_b_C, resamples, seed)
    return _interval(difference, drawn_B, level, len(a_C))


def _rates(a_C: np.ndarray, b_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a_C, b_C = np.asarray(a_C, np.float64), np.asarray(b_C, np.float64)
    if a_C.shape != b_C.shape or a_C.ndim != 1:
        raise InputError(f"a rate needs one numerator and denominator per clip, got {a_C.shape} and {b_C.shape}")
    if not (np.isfinite(a_C).all() and np.isfinite(b_C).all()):
        raise InputError(f"score of clip {np.flatnonzero(~np.isfinite(a_C + b_C))[0]} is not finite")
    if not b_C.sum() > 0:
        raise InputError("a bootstrap interval needs at least one clip")
    return a_C, b_C


def _ratios(a_C: np.ndarray, b_C: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """sum a / sum b of every draw; one without any b has the value of all clips."""
    index_BC = _draws(len(a_C), resamples, seed)
    a_B, b_B = a_C[index_BC].sum(1), b_C[index_BC].sum(1)
    return np.where(b_B > 0, a_B, a_C.sum()) / np.where(b_B > 0, b_B, b_C.sum())


def _draws(clips: int, resamples: int, seed: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).integers(clips, size=(resamples, clips))


def _interval(value: float, drawn_B: np.ndarray, level: float, count: int) -> Interval:
    low, high = np.quantile(drawn_B, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high), count)
