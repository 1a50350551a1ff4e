import numpy as np

from jamflow_jax.evaluate.mfcc import mfcc


def test_frames_and_energy():
    rng = np.random.default_rng(0)
    x = 0.1 * rng.normal(size=16_000)
    c_KC = mfcc(x)
    assert c_KC.shape == (99, 13) and np.isfinite(c_KC).all()
    louder = mfcc(10 * x) - c_KC
    np.testing.assert_allclose(louder[:, 0], np.log(100), atol=1e-6)
    np.testing.assert_allclose(louder[:, 1:], 0, atol=1e-6)
    assert np.isfinite(mfcc(np.zeros(100))).all() and len(mfcc(np.zeros(100))) == 1


def test_the_first_coefficient_is_spectral_tilt():
    time = np.arange(16_000) / 16_000
    noise = 1e-3 * np.random.default_rng(0).normal(size=16_000)
    low, high = (mfcc(0.3 * np.sin(2 * np.pi * hertz * time) + noise)[:, 1].mean() for hertz in (300, 5000))
    assert low > high
