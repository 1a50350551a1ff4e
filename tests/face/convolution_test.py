"""A volume's convolution by slices against the platform's own, and the small operations against plain NumPy."""
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.face.convolution import (
    conv2d_by_rows,
    conv2d_direct,
    conv3d_by_depths,
    conv3d_by_slices,
    conv3d_direct,
    conv_of_doubled,
    double,
    halve,
)
from jamflow_jax.face.generator import instance_norm, pixel_shuffle
from jamflow_jax.face.motion import degrees, depthwise_by_shifts, depthwise_direct

rng = np.random.default_rng(0)


@pytest.mark.parametrize("ways", [conv3d_by_slices, conv3d_by_depths])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_volume_by_other_ways_equals_the_direct_convolution(ways, size):
    x = jnp.asarray(rng.normal(size=(2, 6, 6, 5, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, 3, size, 2)), jnp.float32)
    exact = conv3d_direct(x, kernel)
    np.testing.assert_allclose(ways(x, kernel), exact, atol=5e-5 * float(exact.std()))
    small, padding = kernel[: size // 2 + 1, : size // 2 + 1], ((size // 2, 0), (0, size // 2))
    np.testing.assert_allclose(ways(x, small, padding=padding), conv3d_direct(x, small, padding=padding), atol=5e-4)


def test_a_picture_by_rows_equals_the_direct_convolution():
    x, kernel = jnp.asarray(rng.normal(size=(2, 6, 5, 3)), jnp.float32), jnp.asarray(rng.normal(size=(3, 3, 3, 2)), jnp.float32)
    np.testing.assert_allclose(conv2d_by_rows(x, kernel), conv2d_direct(x, kernel), atol=1e-4)


@pytest.mark.parametrize("depth", [(), (3,)])
def test_phases_equal_the_convolution_of_a_doubled_input(depth):
    x = jnp.asarray(rng.normal(size=(2, *(4,) * len(depth), 3, 5, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, *depth, 2)), jnp.float32)
    direct = conv3d_direct if depth else conv2d_direct
    np.testing.assert_allclose(conv_of_doubled(x, kernel), direct(double(x), kernel), atol=1e-4)


def test_depthwise_by_shifts_equals_the_direct_one():
    x, kernel = jnp.asarray(rng.normal(size=(2, 6, 5, 4)), jnp.float32), jnp.asarray(rng.normal(size=(7, 7, 1, 4)), jnp.float32)
    np.testing.assert_allclose(depthwise_by_shifts(x, kernel), depthwise_direct(x, kernel), atol=1e-4)


def test_halve_and_double():
    x = rng.normal(size=(2, 4, 6, 3))
    np.testing.assert_allclose(halve(jnp.asarray(x)), (x[:, ::2] + x[:, 1::2]).reshape(2, 2, 3, 2, 3).mean(3) / 2, atol=1e-6)
    np.testing.assert_allclose(double(jnp.asarray(x)), x.repeat(2, 1).repeat(2, 2), atol=1e-6)


def test_pixel_shuffle_and_instance_norm():
    x = rng.normal(size=(1, 2, 3, 12)).astype(np.float32)
    shuffled = np.asarray(pixel_shuffle(jnp.asarray(x)))
    assert shuffled.shape == (1, 4, 6, 3)
    for c, i, j in itertools.product(range(3), (0, 1), (0, 1)):
        assert shuffled[0, 2 * 1 + i, 2 * 2 + j, c] == x[0, 1, 2, 4 * c + 2 * i + j]
    normal = np.asarray(instance_norm(jnp.asarray(7 + 3 * x)))
    np.testing.assert_allclose(normal.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std((1, 2)), 1, atol=1e-4)


def test_degrees_of_bins():
    bins = np.full((2, 66), -50.0, np.float32)
    bins[0, 0] = bins[1, 65] = 50.0
    np.testing.assert_allclose(degrees(jnp.asarray(bins)), [-97.5, 97.5], atol=1e-4)
