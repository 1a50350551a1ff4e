"""Fewer products give the same convolution, along any axis, of lengths that m does not divide too."""
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.face import winograd


@pytest.mark.parametrize("taps", [3, 5, 7])
@pytest.mark.parametrize("size", [1, 8, 13])
def test_equals_the_sum_of_products(taps, size):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, size, 50)).astype(np.float32), rng.normal(size=(taps, 50)).astype(np.float32)
    ours = winograd.convolve(jnp.asarray(x), jnp.asarray(kernel), 1, lambda x, kernel: x * kernel)
    around = np.pad(x.astype(np.float64), ((0, 0), (taps // 2, taps // 2), (0, 0)))
    exact = sum(around[:, j : j + size] * kernel[j] for j in range(taps))
    assert ours.shape == x.shape
    assert np.sqrt(((ours - exact) ** 2).mean()) < 1e-5 * exact.std()


def test_products_are_counted():
    calls = []
    winograd.convolve(jnp.zeros((1, 16, 2)), jnp.zeros((3, 2)), 1, lambda x, kernel: calls.append(x.shape) or x * kernel)
    assert calls == [(1, 4, 2)] * 6  # of 4 rows each where there were 3 of 16
