"""How sure a mean over clips is: percentile bootstrap intervals, the same for the same seed.

    m_b = mean of C clips drawn with replacement, b = 1 ... resamples
    interval = quantiles (1 - level) / 2 and (1 + level) / 2 of the m_b

Clips are the unit: frames of one clip are not independent. Two systems are compared on the same clips by the interval of the
mean of their differences, which is far narrower than two separate intervals.
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
    rng = np.random.Generator(np.random.PCG64(seed))
    means_B = values_C[rng.integers(len(values_C), size=(resamples, len(values_C)))].mean(1)
    low, high = np.quantile(means_B, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values_C.mean()), float(low), float(high), len(values_C))


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
