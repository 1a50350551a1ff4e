import pytest

from jamflow_jax.train.ahead import _wanted


@pytest.mark.parametrize("says, size", [
    ("CompileTimeHbmOom: the total memory required for HLO temporaries (1.50G) exceeds available HBM (15.75G).", 3 * 2**29),
    ("Ran out of memory in memory space hbm. Used 2.00G of 1.75G hbm.", 2**31 - 100),
])
def test_what_a_program_that_does_not_fit_would_take(says, size):
    assert _wanted(RuntimeError(says), 100) == size


def test_another_error_stays_one():
    with pytest.raises(RuntimeError, match="something else"):
        _wanted(RuntimeError("something else"), 100)
