import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate import motion
from jamflow_jax.evaluate.mouth import pearson

RNG = np.random.default_rng(0)
Y = RNG.normal(size=(50, 3)).cumsum(0)


def test_nothing_is_wrong_with_the_truth():
    assert (motion.error(Y, Y) == 0).all() and (motion.velocity_error(Y, Y) == 0).all()
    np.testing.assert_allclose(motion.correlation(Y, Y), 1)


def test_known_errors():
    np.testing.assert_allclose(motion.error(Y + 2, Y), 2)
    np.testing.assert_allclose(motion.velocity_error(Y + 2, Y), 0, atol=1e-9)
    ramp = np.arange(50.0)[:, None]
    np.testing.assert_allclose(motion.velocity_error(Y + 0.1 * ramp, Y), 2.5)
    x = Y + RNG.normal(size=Y.shape)
    np.testing.assert_allclose(motion.correlation(x, Y), [pearson(x[:, d], Y[:, d]) for d in range(3)])
    assert (motion.correlation(np.ones_like(Y), Y) == 0).all()


def test_jitter_sees_noise_and_smoothing():
    smooth = np.apply_along_axis(lambda c: np.convolve(c, np.ones(5) / 5, "same"), 0, Y)
    assert motion.abruptness(smooth) < motion.abruptness(Y) < motion.abruptness(Y + RNG.normal(size=Y.shape))
    assert motion.abruptness(np.arange(20.0)[:, None]) == pytest.approx(0) and motion.abruptness(Y[:2]) == 0


def test_diversity():
    assert motion.diversity([Y, Y, Y]) == 0
    assert motion.diversity([Y, Y + 3]) == pytest.approx(3)
    assert motion.diversity([Y, Y[:40] + 3]) == pytest.approx(3)
    with pytest.raises(InputError, match="at least 2"):
        motion.diversity([Y])
