"""Bucket edges that pad least: dynamic programming over the lengths of the clips.

Lengths go onto a grid of `align` mel frames: x_1 < x_2 < ... < x_n are the grid points that some clip needs, w_j the clips that
need x_j, W_j = w_1 + ... + w_j. Buckets with edges at x_j hold

    P_k(j) = min over i < j of  P_{k-1}(i) + x_j (W_j - W_i),   P_0(0) = 0

frames when k of them serve the shortest j points: P_K(n) is the least that K buckets can hold, and the choices of i lead back to
the edges. The last is the longest clip's, and none is anywhere but at a point, for a bucket could shrink to its longest clip.
"""
import numpy as np

from jamflow_jax.errors import ConfigError
from jamflow_jax.timeline import CROP_MEL

ALIGN = CROP_MEL  # 15 mel frames are 4 motion frames: no motion frame is cut
MOST = 64  # a larger number is surely a length


def optimal_edges(clips: np.ndarray, buckets: int, align: int = ALIGN) -> tuple[int, ...]:
    """The edges, in mel frames, of at most `buckets` buckets.

    Args:
      clips: [n] how many clips (or how much weight) need g * `align` frames, for g = 0, 1, ...; see `on_grid`.
      buckets: K; fewer come out where fewer points are needed.
    """
    points = np.flatnonzero(clips)
    x_n = points * float(align)
    below = np.concatenate([[0.0], np.cumsum(clips[points], dtype=np.float64)])  # W_0 ... W_n
    held = np.full(len(points) + 1, np.inf)
    held[0] = 0.0
    choices = []
    for _ in range(min(buckets, len(points))):
        choice = np.zeros(len(held), np.int64)
        fewer, held = held, np.full(len(held), np.inf)
        for j in range(1, len(held)):
            total = fewer[:j] + x_n[j - 1] * (below[j] - below[:j])
            choice[j] = total.argmin()
            held[j] = total[choice[j]]
        choices.append(choice)
    edges, j = [], len(points)
    for choice in reversed(choices):
        edges.append(int(points[j - 1]) * align)
        j = choice[j]
    return tuple(reversed(edges))


def on_grid(length: np.ndarray, align: int) -> np.ndarray:
    """The grid point a clip of `length` mel frames needs: the smallest g with g * align >= length."""
    return -(-length // align)


def check(buckets: int | tuple[int, ...], align: int) -> None:
    """Raises ConfigError unless `buckets` is a number of buckets or some lengths, and `align` makes sense."""
    if align < 1:
        raise ConfigError(f"data.align = {align}: a positive number of mel frames is needed (15, or 64 or 128 for some chips)")
    if isinstance(buckets, int):
        if not 1 <= buckets <= MOST:
            raise ConfigError(
                f"data.buckets = {buckets}: a single number says how many buckets, 1 to {MOST}, there are for each mix of "
                f"modalities; one bucket of {buckets} mel frames is written ({buckets},)"
            )
    elif not buckets or min(buckets) <= 0:
        raise ConfigError(f"data.buckets = {buckets}: a number of buckets, or positive lengths in mel frames, are needed")
