import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.text.duration import f5_duration, reference_text, spoken_duration

TEN = "ten bytes!"


@pytest.mark.parametrize(
    "text, expected",
    [("Yes", "Yes.  "), ("Yes.", "Yes.  "), ("Yes. ", "Yes.  "), ("Yes?", "Yes?.  "), ("对。", "对。"), ("对", "对.  ")],
)
def test_reference_text_ends_as_in_f5_tts(text, expected):
    assert reference_text(text) == expected


def test_time_goes_by_utf8_bytes():
    assert f5_duration(100, "x" * 30, TEN) == 100 + 33
    assert f5_duration(100, "x" * 30, TEN, speed=2) == 100 + 16
    assert f5_duration(100, "x" * 30, "对这就是") == 100 + 40  # 4 characters, 12 bytes
    assert f5_duration(100, "对" * 10, TEN) == 100 + 33


def test_under_ten_bytes_the_speed_is_0_3_whatever_was_asked():
    expected = 100 + int(100 / 30 * 9 / 0.3)
    assert f5_duration(100, "x" * 30, "nine byte") == f5_duration(100, "x" * 30, "nine byte", speed=2) == expected


def test_at_least_one_frame_more_than_reference_and_than_tokens():
    assert f5_duration(3, "x" * 1000, TEN) == 4
    assert f5_duration(3, "x" * 1000, TEN, tokens=1010) == 1011
    assert spoken_duration(TEN, rate=1000, tokens=40) == 41


def test_a_stated_rate_needs_no_reference():
    assert spoken_duration("x" * 30, rate=15) == 188  # 2 s are 187.5 frames
    assert spoken_duration("x" * 30) == spoken_duration("对" * 10)
    assert spoken_duration("x" * 30, speed=2) == 94
    assert spoken_duration("Hi.", rate=15) == 63  # 0.2 s at speed 0.3


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: f5_duration(0, "ref", TEN), "0 mel frames"),
        (lambda: f5_duration(10, "", TEN), "reference text is empty"),
        (lambda: f5_duration(10, "ref", "  "), "text to say is empty"),
        (lambda: f5_duration(10, "ref", TEN, speed=0), "speed is 0"),
        (lambda: f5_duration(10, "ref", "Hi", speed=float("nan")), "speed is nan"),
        (lambda: spoken_duration("", 15), "text to say is empty"),
        (lambda: spoken_duration(TEN, -1), "rate is -1"),
        (lambda: spoken_duration(TEN, speed=float("inf")), "speed is inf"),
        (lambda: reference_text(" "), "reference text is empty"),
    ],
)
def test_rejects(call, message):
    with pytest.raises(InputError, match=message):
        call()
