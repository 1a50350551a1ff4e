"""Faces over a video: tracks of other rates and with gaps, detectors that lose a face, find it late or see several."""
import sys
import types
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.face import find

FACE = np.array([[-30, -30], [30, -30], [0, 0], [-20, 40], [20, 40]], float)
CLIP = Path("clip.mp4")


def film(*frames):
    """Frames that tell `detect` where faces are: x of each."""
    return [np.array([[[x, 0, 0] for x in xs] or [[0, 0, 0]]], np.uint8) for xs in frames]


def detect(picture):
    return [FACE * (1 + x / 1000) + (x, 90) for x in picture[0, :, 0].astype(float) if x]


def test_a_face_is_followed():
    follow = find.Follow(detect)
    frames = film((), (50, 100), (103, 48), (), (106,))
    assert follow.search(iter(frames), CLIP) == ["face: the first is in frame 1; its place is used before",
                                                 "faces: 2 found, the largest is taken (--box chooses another)"]
    assert [round(follow(frame).centre[0]) for frame in frames] == [100, 100, 103, 103, 106]
    assert "2 of 5 frames" in follow.lost and follow.several == 2


def test_no_face_is_one_line_and_the_search_ends():
    shown = []
    endless = (shown.append(1) or film(())[0] for _ in range(10_000))
    with pytest.raises(InputError, match="clip.mp4: the detector finds no face in the first 250 frames"):
        find.in_video(CLIP, endless, detector=detect)
    assert len(shown) <= find.SEARCH + 1
    with pytest.raises(InputError, match="finds no face"):
        find.in_picture(CLIP, film(())[0], detector=detect)
    with pytest.raises(ConfigError, match="not MODULE:FUNCTION"):
        find.load_detector("detect")


def fails(picture):
    raise RuntimeError("no model")


OTHERS = {"fails": fails, "none": lambda picture: None, "one": lambda picture: FACE, "flat": lambda picture: [np.zeros(10)],
          "seven": lambda picture: [np.zeros((7, 2))], "number": 3}  # fmt: skip


@pytest.mark.parametrize("name, says", [
    ("fails", "RuntimeError: no model"), ("none", "not iterable"), ("one", r"shape \(2,\); needed are arrays \[points, 2\]"),
    ("flat", r"shape \(10,\)"), ("seven", "7 landmarks; known are sets of 5"), ("number", "number is no function"),
])  # fmt: skip
def test_a_detector_that_is_none_is_named(monkeypatch, name, says):
    module = types.ModuleType("theirs")
    vars(module).update(OTHERS)
    monkeypatch.setitem(sys.modules, "theirs", module)
    with pytest.raises(ConfigError, match=f"^--detector theirs:{name}: .*{says}"):
        find.in_picture(CLIP, film(())[0], detector=find.load_detector(f"theirs:{name}"))


def save(folder, points, **more):
    np.savez(folder / "t.npz", landmarks=points, **more)
    return folder / "t.npz"


def test_a_track_has_a_row_for_each_frame_or_a_clock_of_its_own(tmp_path):
    points = FACE + np.arange(30)[:, None, None] * (1, 0)
    track = find.read_track(save(tmp_path, points))
    first = track.places[0].centre[0]
    moved = [track.at(i, Fraction(i, 7)).centre[0] - first for i in (0, 1, 29, 31)]
    np.testing.assert_allclose(moved, [0, 1, 29, 29], atol=1e-6)
    own = find.read_track(save(tmp_path, points, fps=50))
    seconds = (Fraction(-1, 50), Fraction(1, 50), Fraction(7, 50), Fraction(59, 100))
    np.testing.assert_allclose([own.at(3, s).centre[0] - first for s in seconds], [0, 1, 7, 29], atol=1e-6)
    for which in (track, own):
        with pytest.raises(InputError, match="30 frames, the video more"):
            which.at(40, Fraction(8, 5))


def test_a_track_with_gaps(tmp_path):
    points = FACE + np.arange(4)[:, None, None] * (1, 0)
    points[[0, 2]] = np.nan
    track = find.read_track(save(tmp_path, points))
    assert [round(place.centre[0] - track.places[0].centre[0]) for place in track.places] == [0, 0, 0, 2]
    assert find.steady(track, ()).angle == 0
    with pytest.raises(InputError, match="no face in any of its 4 frames"):
        find.read_track(save(tmp_path, points * np.nan))


@pytest.mark.parametrize("points, more, says", [
    (FACE / 360, {}, "frame 0: the landmarks are no face: they lie within .* pixels"),
    (FACE + (5000, 90), {}, "t.npz: the face is around .*, outside the 200 x 180 pixels of clip.mp4"),
    (FACE + 90, {"fps": 0}, "t.npz: frame rate 0"),
    (FACE + 90, {"fps": [1, 2]}, "t.npz: frame rate"),
])  # fmt: skip
def test_a_track_of_another_picture_is_one_line(tmp_path, points, more, says):
    with pytest.raises(InputError, match=says):
        find.in_video(CLIP, iter([np.zeros((180, 200, 3), np.uint8)]), landmarks=save(tmp_path, points[None], **more))


def test_an_npy_is_no_track(tmp_path):
    np.save(tmp_path / "t.npy", FACE)
    with pytest.raises(InputError, match="t.npy: not an .npz of landmarks"):
        find.read_track(tmp_path / "t.npy")


def test_a_box_may_reach_over_the_edge_but_not_lie_beyond():
    picture = np.zeros((180, 200, 3), np.uint8)
    assert find.in_picture(CLIP, picture, box=(-3, -4, 90, 80))[0].centre[0] == pytest.approx(43.5)
    assert find.in_picture(CLIP, picture, box=(-20, -20, 220, 200))
    for box in ((190, 160, 900, 900), (-90, 10, 20, 80), (10, -90, 60, 20), (300, 10, 360, 70)):
        with pytest.raises(InputError, match="lies outside its 200 x 180 pixels"):
            find.in_picture(CLIP, picture, box=box)
    with pytest.raises(InputError, match="0.2,0.2,0.8,0.8 is smaller than 8 pixels"):
        find.in_picture(CLIP, picture, box=(0.2, 0.2, 0.8, 0.8))
