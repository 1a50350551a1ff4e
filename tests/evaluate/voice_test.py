import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.voice import load, similarity


def voice(tilt, seed):
    """Noise through a one-pole filter: a timbre."""
    rng, x = np.random.default_rng(seed), np.zeros(12_000)
    noise = 0.05 * rng.normal(size=12_000)
    for i in range(1, len(x)):
        x[i] = tilt * x[i - 1] + noise[i]
    return x


def test_one_voice_is_more_alike_than_two():
    embed = load("mfcc", [voice(tilt, seed) for tilt in (0.2, 0.9) for seed in (0, 1)])
    one, again, other = embed(voice(0.2, 2)), embed(voice(0.2, 3)), embed(voice(0.9, 4))
    assert similarity(one, one) == pytest.approx(1) and similarity(one, again) > 0.7 > 0.4 > similarity(one, other)
    assert similarity(one, 0 * one) == 0


def test_bad_embedders(tmp_path):
    with pytest.raises(InputError, match="no config.json there"):
        load(str(tmp_path), [])
    with pytest.raises(InputError, match="at least one training clip"):
        load("mfcc", [])
