import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.bootstrap import interval, paired, ratio, ratio_difference


def test_interval_is_the_textbook_one_and_repeatable():
    values_C = np.random.default_rng(1).normal(0.5, 0.2, 400)
    result = interval(values_C)
    half = 1.96 * values_C.std() / np.sqrt(400)
    assert result.mean == pytest.approx(values_C.mean()) and result.count == 400
    assert result.low == pytest.approx(result.mean - half, abs=0.003)
    assert result.high == pytest.approx(result.mean + half, abs=0.003)
    assert interval(values_C) == result != interval(values_C, seed=1)
    assert str(result) == f"{result.mean:.3f} [{result.low:.3f}, {result.high:.3f}]"


def test_higher_level_is_wider():
    values_C = np.arange(30.0)
    narrow, wide = interval(values_C, level=0.5), interval(values_C, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_pairing_removes_what_clips_share():
    rng = np.random.default_rng(0)
    clip_C = rng.normal(0, 1, 50)
    ours, theirs = clip_C + 0.1 + 0.02 * rng.normal(size=50), clip_C
    difference = paired(ours, theirs)
    assert 0.08 < difference.low < 0.1 < difference.high < 0.12
    assert interval(ours).low < interval(theirs).high, "separate intervals overlap"


def test_bad_values():
    with pytest.raises(InputError, match="at least one clip"):
        interval(np.array([]))
    with pytest.raises(InputError, match="clip 1 is not finite"):
        interval(np.array([0.0, np.nan]))
    with pytest.raises(InputError, match="same clips"):
        paired(np.zeros(3), np.zeros(2))
    assert interval(np.array([0.3])).low == interval(np.array([0.3])).high == pytest.approx(0.3)


def test_rates_are_ratios_of_sums():
    rng = np.random.default_rng(0)
    words_C = rng.integers(1, 20, 200).astype(float)
    errors_C = rng.binomial(words_C.astype(int), 0.2).astype(float)
    found = ratio(errors_C, words_C)
    assert found.mean == pytest.approx(errors_C.sum() / words_C.sum()) and found.low < 0.2 < found.high
    assert ratio(errors_C, np.ones(200)) == interval(errors_C), "a mean is a ratio"
    worse = ratio_difference(errors_C + 1, words_C, errors_C, words_C)
    assert worse.low > 0 and worse.mean == pytest.approx(200 / words_C.sum())
    assert ratio(np.zeros(3), np.array([0.0, 0, 2])).count == 1
    with pytest.raises(InputError, match="at least one clip"):
        ratio(np.zeros(2), np.zeros(2))
