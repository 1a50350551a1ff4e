"""Convolution along one axis with fewer products (Toom and Cook; Winograd): n = m + r - 1 for m results of r taps, not m r.

    y[k] = sum_j h[j] x[k + j]    k = 0 .. m - 1            y = A^T ((G h) * (B x))

Read backwards this is a product of two polynomials by their values at n points p_t, the last of them infinity:

    A[t, k] = p_t^k    G[t, j] = p_t^j    B = V^-T,  V[t, i] = p_t^i

Here h[j] is itself a kernel and a product the convolution along all other axes: 6 of them for 4 results of 3 taps, where there were
12, and 10 of 7 taps, where there were 28. In float32 a result is off by 5e-7 and 3e-6 of its standard deviation (rms); bfloat16
would not do.
"""
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

RESULTS = 4  # m
POINTS = (0, 1, -1, 2, -2, 1 / 2, -1 / 2, 4, -1 / 4)  # exact in binary; of both sizes and signs: the error is least


def transforms(taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A [n, m], G [n, r], B [n, n] for r `taps`, float64."""
    n = RESULTS + taps - 1

    def values(powers: int) -> np.ndarray:
        finite = [[float(point) ** i for i in range(powers)] for point in POINTS[: n - 1]]
        return np.array([*finite, [0.0] * (powers - 1) + [1.0]])

    return values(RESULTS), values(taps), np.linalg.inv(values(n)).T


def weighted(weights: Sequence[float], arrays: Sequence[Array]) -> Array:
    """sum_i weights[i] arrays[i], what is 0 (or rounding's idea of it) left out."""
    return sum(float(w) * array for w, array in zip(weights, arrays, strict=True) if abs(w) > 1e-12)


def convolve(
    x: Float[Array, "..."], kernel: Float[Array, "r ..."], axis: int, conv: Callable[[Array, Array], Array]
) -> Float[Array, "..."]:
    """x convolved along `axis`, zeros around it, with the kernel's first axis of r (odd) taps, up to 7.

    Args:
      conv: (x with the axis cut into groups of m, kernel without its first axis) -> their convolution along all other axes.
    """
    A, G, B = transforms(len(kernel))
    size, (n, half) = x.shape[axis], (len(B), len(kernel) // 2)
    groups = -(-size // RESULTS)
    around = [(0, 0)] * x.ndim
    around[axis] = half, groups * RESULTS - size + half
    x = jnp.pad(x, around)
    shifted = [lax.slice_in_dim(x, i, i + (groups - 1) * RESULTS + 1, RESULTS, axis) for i in range(n)]
    products = [conv(weighted(B[t], shifted), weighted(G[t], kernel)) for t in range(n)]
    y = jnp.stack([weighted(A[:, k], products) for k in range(RESULTS)], axis + 1)
    y = y.reshape(*y.shape[:axis], groups * RESULTS, *y.shape[axis + 2 :])
    return lax.slice_in_dim(y, 0, size, axis=axis)
