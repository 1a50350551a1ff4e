"""Resampling at exact rational times, and gaps."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jamflow_jax.errors import InputError
from jamflow_jax.motion.resample import fill_gaps, frame_rate, resample, resample_times, resampled_length

RATES = [24, 20, 25, 30, 50, 60, Fraction(30000, 1001), Fraction(24000, 1001), Fraction(12), Fraction(15, 2)]


@pytest.mark.parametrize(
    "value, rate",
    [
        (25, Fraction(25)),
        (25.0, Fraction(25)),
        (np.float32(25), Fraction(25)),
        (np.array(np.float32(29.97)), Fraction(30000, 1001)),
        (29.97, Fraction(30000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (30000 / 1001, Fraction(30000, 1001)),
        (Fraction(2997, 100), Fraction(2997, 100)),
        ("30000/1001", Fraction(30000, 1001)),
        (12.5, Fraction(25, 2)),
        (30, Fraction(30)),
    ],
)
def test_frame_rate(value, rate):
    assert frame_rate(value) == rate


@pytest.mark.parametrize("value", [0, -25, "fast", None, float("nan"), float("inf"), "1/0", 1e9, [25]])
def test_frame_rate_refuses(value):
    with pytest.raises(InputError):
        frame_rate(value)


def test_frame_rate_is_named_plainly():
    with pytest.raises(InputError, match="^frame rate 0 is not between"):
        frame_rate(np.int64(0))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frames", [1, 2, 75, 301])
def test_a_line_stays_a_line_and_the_end_is_held(rate, frames):
    """x(t) = t sampled at any rate is x(t) = t at 25 fps, up to the last input frame; afterwards it stands still."""
    rate = Fraction(rate)
    x = np.array([[float(i / rate)] for i in range(frames)])
    y = resample(x, rate)
    times = [Fraction(j, 25) for j in range(len(y))]
    assert times[-1] < frames / rate <= times[-1] + Fraction(1, 25)
    expected = [float(min(t, (frames - 1) / rate)) for t in times]
    np.testing.assert_allclose(y[:, 0], expected, rtol=0, atol=1e-13)


def test_hits_are_copies_and_nothing_drifts_over_an_hour():
    n = 30 * 3600
    x = np.random.default_rng(0).standard_normal((n, 2)).astype(np.float32)
    y = resample(x, 30)
    assert y.shape == (25 * 3600, 2) and y.dtype == np.float32
    np.testing.assert_array_equal(y[::5], x[::6])
    y = resample(x, Fraction(30000, 1001))  # frame 1200 k of the input is frame 1001 k of the output
    np.testing.assert_array_equal(y[::1001], x[::1200][: len(y[::1001])])


def test_equal_rates_give_the_input_bit_for_bit():
    x = np.random.default_rng(0).standard_normal((10, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(resample(x, 25.0), x)
    assert resample(np.arange(6).reshape(3, 2), 25).dtype == np.float32


def test_exact_hits_ignore_a_missing_neighbour():
    x = np.array([[0.0], [np.nan], [2.0], [3.0]])
    np.testing.assert_array_equal(resample(x, 50)[:, 0], [0.0, 2.0])


@settings(max_examples=60)
@given(
    st.integers(1, 40),
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.sampled_from([Fraction(1, 90000), Fraction(1, 1001000), Fraction(1)]),
)
def test_regular_times_agree_with_the_regular_rate(frames, rate_in, rate_out, base):
    x = np.random.default_rng(frames).standard_normal((frames, 2))
    times = [Fraction(i) / rate_in / base for i in range(frames)]
    y = resample_times(x, times, base, rate_out, duration=frames / Fraction(rate_in))
    np.testing.assert_array_equal(y, resample(x, rate_in, rate_out))
    assert len(y) == resampled_length(frames, rate_in, rate_out)
    if frames > 1:
        np.testing.assert_array_equal(resample_times(x, times, base, rate_out), y)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=20), st.integers(0, 40))
def test_irregular_times_of_a_line(gaps, first):
    """Integer timestamps in milliseconds: where the motion is linear in time, so is the result, and never outside its range."""
    stamps = first + np.cumsum([0, *gaps])
    y = resample_times(stamps[:, None].astype(float), stamps, "1/1000", 25)[:, 0]
    t = 40.0 * np.arange(len(y))
    np.testing.assert_allclose(y, np.clip(t, stamps[0], stamps[-1]), rtol=0, atol=1e-9)
    assert t[-1] < stamps[-1] + gaps[-1] <= t[-1] + 40


@settings(max_examples=60)
@given(
    st.lists(st.floats(1e-3, 3.0), min_size=1, max_size=20),
    st.floats(-2.0, 2.0),
    st.sampled_from(RATES),
    st.sampled_from([Fraction(0), Fraction(1, 3), Fraction(-7, 5)]),
)
def test_times_in_floats_are_taken_exactly(gaps, first, rate, start):
    """Bit for bit the definition: the two frames about every output time, in fractions."""
    times = np.cumsum([first, *gaps])
    x = np.random.default_rng(len(gaps)).standard_normal((len(times), 2)).astype(np.float32)
    exact, expected = [Fraction(t) for t in times], []
    for j in range(50):
        t = start + j / Fraction(rate)
        n = sum(at <= t for at in exact) - 1
        if 0 <= n < len(x) - 1:
            weight = float((t - exact[n]) / (exact[n + 1] - exact[n]))
            expected.append(x[n] if weight == 0 else x[n] + weight * (x[n + 1] - x[n].astype(np.float64)))
        else:
            expected.append(x[max(n, 0)])
    y = resample_times(x, times, fps_out=rate, start=start, duration=50 / Fraction(rate))
    np.testing.assert_array_equal(y, np.array(expected, np.float32))


@pytest.mark.parametrize("times", [np.arange(75) * 40, 1.7e9 + np.arange(75) * 0.04, [0, 0.04, 1e12]])
def test_times_in_another_unit_or_from_another_epoch_are_refused(times):
    """Milliseconds would fill hours."""
    with pytest.raises(InputError, match="less than 0.1 a second"):
        resample_times(np.zeros((len(times), 1)), times)


def test_irregular_times_from_a_start_for_a_duration():
    x = np.array([[1.0], [2.0], [4.0]])
    y = resample_times(x, np.array([0.25, 0.5, 1.0]), fps_out=4, start=0, duration=2)
    np.testing.assert_array_equal(y[:, 0], [1, 1, 2, 3, 4, 4, 4, 4])
    assert resample_times(x[:1], [7], start=7).shape == (1, 1)


@pytest.mark.parametrize(
    "times, message",
    [
        ([0.0, 0.0, 1.0], "do not increase: frame 1"),
        ([0.0, 1.0], "2 frame times for 3"),
        ([0.0, float("nan"), 1.0], "not all finite"),
    ],
)
def test_bad_times(times, message):
    with pytest.raises(InputError, match=message):
        resample_times(np.zeros((3, 1)), times)


def test_no_frames():
    with pytest.raises(InputError, match="no frame"):
        resample(np.zeros((0, 3)), 30)
    with pytest.raises(InputError, match="not numbers"):
        resample(np.array([["a"]]), 30)


def test_gaps_inside_and_at_the_ends():
    x = np.array([np.nan, np.nan, 1.0, np.nan, np.nan, np.nan, 5.0, 6.0, np.nan])[:, None]
    np.testing.assert_allclose(fill_gaps(x, max_gap=3)[:, 0], [1, 1, 1, 2, 3, 4, 5, 6, 6])
    whole = np.arange(4.0)[:, None]
    assert fill_gaps(whole) is whole
    np.testing.assert_allclose(fill_gaps(np.array([[0.0], [9.0], [2.0]]), np.array([1, 0, 1], bool))[:, 0], [0, 1, 2])


@given(st.lists(st.booleans(), min_size=1, max_size=30).filter(any), st.integers(0, 30))
def test_gap_limit(valid, max_gap):
    valid = np.array(valid)
    line = np.arange(len(valid), dtype=float)[:, None]
    longest = max(len(run) for run in "".join("x" if v else "." for v in valid).split("x"))
    if longest > max_gap:
        with pytest.raises(InputError, match=f"at most {max_gap} are filled"):
            fill_gaps(line, valid, max_gap)
        return
    known = np.flatnonzero(valid)
    filled = fill_gaps(np.where(valid[:, None], line, np.nan), max_gap=max_gap)
    np.testing.assert_allclose(filled, np.clip(line, known[0], known[-1]), atol=1e-12)


def test_gap_errors_name_the_run():
    x = np.full((9, 2), np.nan)
    x[[0, 7]] = 1
    with pytest.raises(InputError, match="frames 1 to 6: 6 in a row, at most 5"):
        fill_gaps(x)
    with pytest.raises(InputError, match="all 9 frames"):
        fill_gaps(np.full((9, 2), np.nan), max_gap=99)
    with pytest.raises(InputError, match="3 validity flags for 9"):
        fill_gaps(x, np.ones(3, bool))
