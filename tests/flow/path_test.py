"""The path and its noise."""
import jax
import jax.numpy as jnp
import numpy as np

from jamflow_jax.flow import path


def test_ends_and_slope():
    x0, x1 = jnp.ones((2, 3, 4)), jnp.full((2, 3, 4), 5.0)
    time = jnp.array([0.0, 1.0])
    np.testing.assert_array_equal(path.interpolate(x0, x1, time)[0], x0[0])
    np.testing.assert_array_equal(path.interpolate(x0, x1, time)[1], x1[1])
    slope = jax.jvp(lambda t: path.interpolate(x0, x1, t), (time,), (jnp.ones(2),))[1]
    np.testing.assert_allclose(slope, path.velocity(x0, x1))


def test_noise_does_not_depend_on_padding_or_company():
    keys = jax.random.split(jax.random.key(0), 3)
    long = path.noise(keys, 50, 7)
    np.testing.assert_array_equal(path.noise(keys, 20, 7), long[:, :20])
    np.testing.assert_array_equal(path.noise(keys[1:2], 50, 7)[0], long[1])


def test_noise_is_standard_normal():
    x = np.array(path.noise(jax.random.split(jax.random.key(1), 4), 500, 20))
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02
    frames = x[0] - x[0].mean()
    assert abs(np.corrcoef(frames[:-1].ravel(), frames[1:].ravel())[0, 1]) < 0.04  # neighbours are independent
