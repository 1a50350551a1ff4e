"""LivePortrait's smoother of the motion that a source video is given, as a stream.

A Kalman smoother of a random walk: steps of variance q = 1e-5, seen with a variance of r = 3e-7, each number by itself. That is

    x = argmin  sum_i (x_i - z_i)^2 / r  +  sum_i (x_i+1 - x_i)^2 / q       so       (I + r/q L) x = z

with L the Laplacian of a path. A frame k away weighs 0.028^k: beyond REACH it is nothing in float32, so that a window is enough
and memory does not grow. Source: LivePortrait, utils/filter.py (its prior on frame 0, of variance 1, changes that by 3e-7).
"""
import numpy as np
from jaxtyping import Float

PROCESS, OBSERVATION = 1e-5, 3e-7  # variances
REACH = 8  # frames to either side


def smooth(z_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """The smoothed sequence; constants stay as they are."""
    steps = np.diff(np.eye(len(z_ND)), axis=0)
    return np.linalg.solve(np.eye(len(z_ND)) + OBSERVATION / PROCESS * steps.T @ steps, np.asarray(z_ND, np.float64))


class Smoother:
    """`smooth` of a sequence that comes in parts."""

    def __init__(self, width: int):
        self._z_ND = np.zeros((0, width))
        self._done = 0  # of these, given out; kept because what follows leans on them

    def push(self, z_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "M D"]:
        """Takes the next frames; returns those of which REACH frames after them are known."""
        self._z_ND = np.concatenate([self._z_ND, z_ND])
        return self._until(len(self._z_ND) - REACH)

    def finish(self) -> Float[np.ndarray, "M D"]:
        """The rest."""
        return self._until(len(self._z_ND))

    def _until(self, end: int) -> np.ndarray:
        if end <= self._done:
            return self._z_ND[:0]
        out = smooth(self._z_ND)[self._done : end]
        drop = max(0, end - REACH)
        self._z_ND, self._done = self._z_ND[drop:], end - drop
        return out
