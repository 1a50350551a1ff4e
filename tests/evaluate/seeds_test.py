"""The t interval over seeds, against SciPy's and by its coverage."""
import math

import numpy as np
import pytest
from scipy import stats

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.seeds import over_seeds


def test_it_is_the_t_interval():
    values = np.array([0.51, 0.55, 0.49, 0.6, 0.53])
    found = over_seeds(values)
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.mean, found.low, found.high, found.count) == pytest.approx((values.mean(), low, high, 5))


def test_it_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [i.low <= 0 <= i.high for i in (over_seeds(rng.normal(size=5)) for _ in range(400))]
    assert 0.92 < np.mean(hits) < 0.98


def test_one_seed_has_no_interval_and_none_is_an_error():
    found = over_seeds([0.5])
    assert found.mean == 0.5 and math.isnan(found.low) and math.isnan(found.high)
    for values in ([], [math.nan, 1.0]):
        with pytest.raises(InputError):
            over_seeds(values)
