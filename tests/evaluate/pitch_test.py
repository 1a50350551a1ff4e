import numpy as np
import pytest

from jamflow_jax.evaluate.pitch import f0


@pytest.mark.parametrize("hertz", [80.0, 141.4, 233.3, 440.0])
def test_a_buzz_has_its_pitch(hertz):
    time = np.arange(24_000) / 24_000
    buzz = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 8))
    found = f0(0.1 * buzz)
    assert len(found) == 24_000 // 256 + 1
    inside = found[8:-8]
    assert np.isfinite(inside).all() and np.abs(12 * np.log2(inside / hertz)).max() < 0.2


def test_noise_and_silence_are_unvoiced():
    rng = np.random.default_rng(0)
    assert np.isfinite(f0(0.1 * rng.normal(size=24_000))).mean() < 0.05
    assert np.isnan(f0(np.zeros(24_000))).all()
    time = np.arange(24_000) / 24_000
    half = np.where(time < 0.5, np.sin(2 * np.pi * 150 * time), 0.0)
    voiced = np.isfinite(f0(half))
    assert voiced[5:40].all() and not voiced[55:].any()
