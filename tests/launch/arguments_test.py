import argparse
from fractions import Fraction

import pytest

from launch import arguments, motion


@pytest.mark.parametrize("kind, text, value", [
    ("count", "0", 0), ("positive_count", "3", 3), ("amount", "0", 0.0), ("positive", "0.5", 0.5), ("number", "-2", -2.0),
    ("frame_rate", "30000/1001", Fraction(30000, 1001)), ("crf", "51", 51), ("box", "1,2,3,4.5", (1, 2, 3, 4.5)),
    ("key_value", "a=b=c", "a=b=c"),
])  # fmt: skip
def test_values(kind, text, value):
    assert getattr(arguments, kind)(text) == value


@pytest.mark.parametrize("kind, text", [
    ("count", "-1"), ("positive_count", "0"), ("amount", "-0.1"), ("amount", "inf"), ("positive", "0"), ("number", "nan"),
    ("frame_rate", "1/0"), ("frame_rate", "241"), ("crf", "52"), ("crf", "-1"), ("box", "1,2,3"), ("key_value", "a"),
])  # fmt: skip
def test_what_they_refuse(kind, text):
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        getattr(arguments, kind)(text)


def test_a_wrong_one_is_one_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        motion.main(["clip.mp4", "--out", "clip.pkl", "--fps", "1/0"])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and "frames a second, 1 to 240" in error and "\n" not in error


def test_a_template_does_not_replace_the_video_it_is_taken_from(tmp_path, capsys):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"video")
    assert motion.main([str(clip), "--out", str(clip)]) == 2
    assert "a template is a .pkl" in capsys.readouterr().err and clip.read_bytes() == b"video"
