"""How sure a mean over seeds is: Student's t. Seeds are few, and a percentile bootstrap of five values is far too narrow.

    mean +- t_{(1 + level) / 2, n - 1} s / sqrt(n)        s: standard deviation over n seeds, with n - 1 below

Two settings that share their seeds are compared by the interval of the mean of their differences, seed by seed: what a seed does to
both (data order, draws, noise) cancels. One seed has a mean and no interval: its bounds are not a number.
"""
import math

import numpy as np
from jaxtyping import Float

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.bootstrap import Interval


def over_seeds(values_S: Float[np.ndarray, "S"], level: float = 0.95) -> Interval:
    """The mean of one value per seed with its t interval.

    Raises:
      InputError: no value, or one that is not finite.
    """
    from scipy.stats import t

    values_S = np.asarray(values_S, np.float64)
    if values_S.ndim != 1 or not len(values_S):
        raise InputError("an interval over seeds needs at least one seed")
    if not np.isfinite(values_S).all():
        raise InputError("the figure of a seed is not finite")
    count, mean = len(values_S), float(values_S.mean())
    if count < 2:
        return Interval(mean, math.nan, math.nan, count)
    half = float(t.ppf((1 + level) / 2, count - 1) * values_S.std(ddof=1) / math.sqrt(count))
    return Interval(mean, mean - half, mean + half, count)
