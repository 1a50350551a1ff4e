"""How near generated motion is to the truth, and how it moves: per mouth dimension, in standard deviations of the training set.

For dimension d of a clip of M frames, x generated, y true, m the mean curve of the training clips (mouth.py, eq. 2),

    error      sqrt(mean_i (x - y)^2)                                                                                 (1)
    r          Pearson(x, y);   r minus mean curve   Pearson(x - m, y - m)                                            (2)
    velocity   sqrt(mean_i (x' - y')^2),  x'[i] = 25 (x[i+1] - x[i]), standard deviations a second                    (3)
    jitter     sqrt(mean_i x''^2) / sqrt(mean_i y''^2):  1 moves as abruptly as the truth, less is too smooth         (4)
    diversity  sqrt(mean over pairs of samples, frames and dimensions of (x_a - x_b)^2)                               (5)

A clip's figure is the mean over its live dimensions. A curve without variance has r = 0.
"""
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jamflow_jax.errors import InputError
from jamflow_jax.timeline import MOTION_FPS


def error(x_MD: Float[np.ndarray, "M D"], y_MD: Float[np.ndarray, "M D"]) -> Float[np.ndarray, "D"]:
    """Equation 1."""
    return np.sqrt(((x_MD - y_MD) ** 2).mean(0))


def correlation(x_MD: Float[np.ndarray, "M D"], y_MD: Float[np.ndarray, "M D"]) -> Float[np.ndarray, "D"]:
    """Equation 2, dimension by dimension."""
    dx_MD, dy_MD = (np.asarray(v, np.float64) - np.mean(v, axis=0, dtype=np.float64) for v in (x_MD, y_MD))
    sx_D, sy_D = np.sqrt((dx_MD**2).mean(0)), np.sqrt((dy_MD**2).mean(0))
    flat_D = (sx_D <= 1e-6 * (1 + np.abs(x_MD).max(0))) | (sy_D <= 1e-6 * (1 + np.abs(y_MD).max(0)))  # to float32's precision
    return np.where(flat_D, 0.0, (dx_MD * dy_MD).mean(0) / np.where(flat_D, 1.0, sx_D * sy_D))


def velocity_error(x_MD: Float[np.ndarray, "M D"], y_MD: Float[np.ndarray, "M D"]) -> Float[np.ndarray, "D"]:
    """Equation 3; 0 for a single frame."""
    if len(x_MD) < 2:
        return np.zeros(x_MD.shape[1])
    return np.sqrt(((np.diff(x_MD, axis=0) - np.diff(y_MD, axis=0)) ** 2).mean(0)) * MOTION_FPS


def abruptness(x_MD: Float[np.ndarray, "M D"]) -> float:
    """sqrt(mean x''^2) over frames and dimensions, standard deviations a second squared: the two halves of equation 4."""
    if len(x_MD) < 3:
        return 0.0
    return float(np.sqrt((np.diff(np.asarray(x_MD, np.float64), 2, axis=0) ** 2).mean()) * MOTION_FPS**2)


def diversity(samples: Sequence[Float[np.ndarray, "M D"]]) -> float:
    """Equation 5, over the frames that all samples have.

    Raises:
      InputError: fewer than two samples.
    """
    if len(samples) < 2:
        raise InputError(f"diversity needs at least 2 samples, got {len(samples)}")
    M = min(map(len, samples))
    squares = [np.mean((np.asarray(a[:M], np.float64) - b[:M]) ** 2) for a, b in itertools.combinations(samples, 2)]
    return float(np.sqrt(np.mean(squares)))
