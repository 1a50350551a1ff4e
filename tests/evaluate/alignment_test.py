import itertools

import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.alignment import warp


def cost(x, y, path):
    return sum(np.linalg.norm(x[i] - y[j]) for i, j in path)


def cheapest(x, y):
    """Every path, by trying all."""
    total = np.full((len(x), len(y)), np.inf)
    for i, j in itertools.product(range(len(x)), range(len(y))):
        before = [total[a, b] for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
        total[i, j] = np.linalg.norm(x[i] - y[j]) + (min(before) if before else 0)
    return total[-1, -1]


@pytest.mark.parametrize("lengths", [(7, 9), (9, 7), (1, 4), (4, 1), (1, 1), (3, 12)])
def test_a_wide_band_finds_the_cheapest_path(lengths):
    rng = np.random.default_rng(sum(lengths))
    for _ in range(5):
        x, y = (rng.normal(size=(n, 2)) for n in lengths)
        path = warp(x, y, 20)
        assert cost(x, y, path) == pytest.approx(cheapest(x, y))
        assert tuple(path[0]) == (0, 0) and tuple(path[-1]) == (len(x) - 1, len(y) - 1)
        steps = {tuple(step) for step in np.diff(path, axis=0)}
        assert steps <= {(1, 1), (1, 0), (0, 1)}


def test_a_shift_is_forgiven_within_the_band_only():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = np.concatenate([np.repeat(x[:1], 6, axis=0), x])[:80]  # six frames late
    inside, outside = (np.mean([np.linalg.norm(x[i] - y[j]) for i, j in warp(x, y, band)]) for band in (8, 2))
    assert inside < 0.3 < 1.2 < outside


def test_slow_speech_is_aligned():
    x = np.linspace(0, 1, 30)[:, None]
    assert np.abs(np.diff(warp(x, np.repeat(x, 3, axis=0), 3) @ [3, -1])).max() <= 3


def test_bad_input():
    with pytest.raises(InputError, match="cannot be aligned"):
        warp(np.zeros((3, 2)), np.zeros((3, 4)), 1)
    with pytest.raises(InputError, match="band is -1"):
        warp(np.zeros((3, 2)), np.zeros((3, 2)), -1)
