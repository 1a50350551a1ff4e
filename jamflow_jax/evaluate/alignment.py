"""Dynamic time warping in a band: how far two utterances of the same words are apart when their timing is forgiven.

    D[i, j] = d(x_i, y_j) + min(D[i-1, j-1], D[i-1, j], D[i, j-1]),   |j - i (J - 1) / (I - 1)| <= band              (1)
    distance = D[I-1, J-1] / (cells of the cheapest path)

(Sakoe and Chiba 1978, symmetric step of weight 1.) Work and memory are I x (2 band + 1); a row
is one vector operation, its steps along y a running minimum.
"""
import numpy as np
from jaxtyping import Float, Int

from jamflow_jax.errors import InputError

_DIAGONAL, _FIRST, _SECOND = 0, 1, 2  # which sequence steps: both, x alone, y alone


def warp(x_IF: Float[np.ndarray, "I F"], y_JF: Float[np.ndarray, "J F"], band: int) -> Int[np.ndarray, "P 2"]:
    """The cheapest path of (1) as pairs (i, j), with the Euclidean distance over F.

    Args:
      x_IF, y_JF: two sequences of frames.
      band: frames of y each side of the straight line; widened to what one step along it needs.

    Raises:
      InputError: an empty sequence, different widths, or a band that is negative.
    """
    x_IF, y_JF = np.asarray(x_IF, np.float64), np.asarray(y_JF, np.float64)
    if x_IF.ndim != 2 or y_JF.ndim != 2 or x_IF.shape[1] != y_JF.shape[1] or not len(x_IF) or not len(y_JF):
        raise InputError(f"sequences of shapes {x_IF.shape} and {y_JF.shape} cannot be aligned")
    if band < 0:
        raise InputError(f"band is {band}; it must be 0 or more frames")
    I, J = len(x_IF), len(y_JF)
    slope = (J - 1) / max(I - 1, 1)
    half = max(band, int(np.ceil(slope)) + 1) if I > 1 else J
    centre_I = np.rint(np.arange(I) * slope).astype(int)
    offset_K = np.arange(-half, half + 1)
    j_IK = centre_I[:, None] + offset_K
    inside_IK = (j_IK >= 0) & (j_IK < J)
    total_IK, step_IK = np.full(j_IK.shape, np.inf), np.zeros(j_IK.shape, np.int8)
    for i in range(I):
        cost_K = np.sqrt(((x_IF[i] - y_JF[np.clip(j_IK[i], 0, J - 1)]) ** 2).sum(-1))
        cost_K = np.where(inside_IK[i], cost_K, np.inf)
        if i == 0:
            enter_K = np.where(j_IK[0] == 0, cost_K, np.inf)
            from_K = np.full(len(offset_K), _DIAGONAL)
        else:
            moved = centre_I[i] - centre_I[i - 1]  # column k of this row is column k + moved of the last
            above_K, before_K = _shift(total_IK[i - 1], moved), _shift(total_IK[i - 1], moved - 1)
            from_K = np.where(before_K <= above_K, _DIAGONAL, _FIRST)
            enter_K = np.minimum(before_K, above_K) + cost_K
        # steps along y: total[k] = min over l <= k of enter[l] + sum of cost[l+1 .. k]
        run_K = np.cumsum(np.where(np.isfinite(cost_K), cost_K, 0.0))
        start_K = enter_K - run_K
        least_K = np.minimum.accumulate(np.where(np.isfinite(start_K), start_K, np.inf))
        along_K = np.where(inside_IK[i], least_K + run_K, np.inf)
        total_IK[i] = np.minimum(along_K, enter_K)
        step_IK[i] = np.where(start_K <= least_K, from_K, _SECOND)
    i, k = I - 1, int(np.flatnonzero(j_IK[I - 1] == J - 1)[0])
    path = [(i, J - 1)]
    while (i, j_IK[i, k]) != (0, 0):
        step = step_IK[i, k]
        if step == _SECOND or i == 0:
            k -= 1
        else:
            k += centre_I[i] - centre_I[i - 1] - (step == _DIAGONAL)
            i -= 1
        path.append((i, int(j_IK[i, k])))
    return np.array(path[::-1])


def _shift(values_K: np.ndarray, by: int) -> np.ndarray:
    """values[k + by], inf outside."""
    k = np.arange(len(values_K)) + by
    return np.where((k >= 0) & (k < len(values_K)), values_K[np.clip(k, 0, len(values_K) - 1)], np.inf)
