"""The smoother against the filter and smoother it stands for, and in parts against the whole."""
import numpy as np
import pytest

from jamflow_jax.face.smoothing import OBSERVATION, PROCESS, Smoother, smooth

Z = np.random.default_rng(0).normal(size=(40, 3)).cumsum(0)


def rauch_tung_striebel(z):
    """Kalman filter, then smoother, of a random walk; prior N(z_0, 1)."""
    mean, variance, means, variances, ahead = z[0], 1.0, [], [], []
    for i, seen in enumerate(z):
        if i:
            variance += PROCESS
        ahead.append(variance)
        gain = variance / (variance + OBSERVATION)
        mean, variance = mean + gain * (seen - mean), (1 - gain) * variance
        means.append(mean)
        variances.append(variance)
    for i in range(len(z) - 2, -1, -1):
        means[i] = means[i] + variances[i] / ahead[i + 1] * (means[i + 1] - means[i])
    return np.array(means)


def test_it_is_the_kalman_smoother():
    np.testing.assert_allclose(smooth(Z), rauch_tung_striebel(Z), atol=1e-5)
    assert 0.01 < np.abs(smooth(Z) - Z).max() < 0.2  # it does something, and little
    np.testing.assert_allclose(smooth(np.ones((5, 2))), 1)


@pytest.mark.parametrize("parts", [(40,), (1,) * 40, (16, 16, 8), (3, 30, 7)])
def test_parts_make_the_whole(parts):
    smoother, out = Smoother(3), []
    for part in np.split(Z, np.cumsum(parts)[:-1]):
        out.append(smoother.push(part))
        assert len(smoother._z_ND) <= 16 + max(parts)
    np.testing.assert_allclose(np.concatenate([*out, smoother.finish()]), smooth(Z), atol=1e-9)
