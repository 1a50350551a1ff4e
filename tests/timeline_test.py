from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jamflow_jax import timeline as tl


@given(st.integers(0, 10**9))
def test_motion_frames_cover_the_mel_frames_and_no_more(mel):
    motion = tl.motion_frames(mel)
    assert motion == -(-mel * 256 * 25 // 24_000)
    assert tl.MOTION_TICKS * motion >= tl.MEL_TICKS * mel > tl.MOTION_TICKS * (motion - 1) or mel == 0


@given(st.integers(0, 10**6))
def test_mel_frames_of_motion_is_the_largest_that_fits(motion):
    mel = tl.mel_frames_of_motion(motion)
    assert tl.motion_frames(mel) <= motion < tl.motion_frames(mel + 1)


def test_fifteen_mel_frames_last_as_long_as_four_motion_frames():
    assert tl.motion_frames(tl.CROP_MEL * 7) == tl.CROP_MOTION * 7
    assert Fraction(tl.CROP_MEL * tl.HOP, tl.SAMPLE_RATE) == Fraction(tl.CROP_MOTION, tl.MOTION_FPS) == Fraction(4, 25)


def test_arrays_go_through():
    np.testing.assert_array_equal(tl.motion_frames(np.array([0, 1, 15, 16])), [0, 1, 4, 5])


@given(st.fractions(0, 10), st.integers(-5000, 5000))
def test_window_ticks_decide_exactly(seconds, distance):
    inclusive, exclusive = tl.window_ticks(seconds)
    assert (distance <= inclusive) == (Fraction(distance, 375) <= seconds)
    assert (distance <= exclusive) == (Fraction(distance, 375) < seconds)


def test_a_negative_window_is_refused():
    with pytest.raises(ValueError, match="negative"):
        tl.window_ticks(Fraction(-1, 25))


def test_seconds():
    assert tl.mel_frames(24_000) == 94 == tl.mel_frames_of_seconds(1)
    assert tl.seconds_of_mel(375) == 4.0
