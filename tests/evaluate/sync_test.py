import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate import sync

Y = np.convolve(np.random.default_rng(0).normal(size=90), np.ones(3), "valid")


@pytest.mark.parametrize("late", [-9, -2, 0, 1, 7])
def test_the_lag_curve_finds_a_known_shift(late):
    mouth = np.roll(Y, late)
    curve = sync.lag_curve(Y, mouth)
    assert len(curve) == 25 and sync.offset(curve) == late and curve.max() > 0.95


def test_a_flat_curve_has_no_offset():
    assert sync.offset(sync.lag_curve(Y, np.ones(88))) is None


def test_a_tie_is_no_retrieval():
    assert sync.retrieved(0.5, [0.4, 0.1]) and not sync.retrieved(0.5, [0.5]) and not sync.retrieved(0.0, [0.0, -1])


def test_bilabials():
    assert sync.bilabials_of_phonemes([(0, 0.1, "ˈp"), (0.1, 0.2, "a"), (0.2, 0.3, "m"), (0.3, 0.4, "B")]) == [
        (0, 0.1), (0.2, 0.3), (0.3, 0.4)]  # fmt: skip
    words = [(0.0, 0.5, "sil"), (0.5, 0.7, "bin"), (0.7, 1.0, "lamp"), (1.0, 1.2, "m"), (1.2, 1.4, "b"), (1.4, 1.6, "phone"),
             (1.6, 2.0, "apple")]  # fmt: skip
    at = [a for a, _ in sync.bilabials_of_words(words)]
    assert at == pytest.approx([0.5, 0.8875, 1.0, 1.2, 1.2, 1.72])
    assert sync.speech_span(words) == (0.5, 2.0) and sync.speech_span(words[:1]) is None


def test_closures_are_counted():
    opening = np.ones(50)
    opening[[10, 11, 30]] = 0  # 0.40 to 0.48 s, 1.20 s
    speech = (0.1, 1.9)
    assert sync.closure_counts(opening, 0.5, [(0.42, 0.46), (1.15, 1.15), (1.7, 1.7)], speech) == (2, 0, 1)
    assert sync.closure_counts(opening, 0.5, [(0.42, 0.46)], speech) == (1, 1, 0)
    assert sync.closure_counts(opening, 0.5, [(0.42, 0.46)], (0.1, 1.0)) == (1, 0, 0), "silence is not judged"
    assert sync.f1(2, 0, 1) == pytest.approx(0.8) and sync.f1(0, 0, 0) == 0


def test_the_threshold_is_the_one_that_separates():
    rng = np.random.default_rng(0)
    openings, events = [], []
    for _ in range(6):
        opening, at = 1 + 0.2 * rng.random(50), [10, 25, 40]
        opening[at] = 0.1
        opening[[5, 33]] = 0.6  # lips near each other for other reasons
        openings.append(opening)
        events.append([((i + 0.5) / 25,) * 2 for i in at])
    threshold = sync.best_threshold(openings, events, [(0.0, 2.0)] * 6)
    assert 0.1 < threshold <= 0.6
    counts = np.sum([sync.closure_counts(o, threshold, e, (0.0, 2.0)) for o, e in zip(openings, events)], axis=0)
    assert sync.f1(*counts) == 1
    with pytest.raises(InputError, match="word or phoneme times"):
        sync.best_threshold([], [], [])
