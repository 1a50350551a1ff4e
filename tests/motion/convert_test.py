"""Converters: every family reaches lips, and what is missing is said."""

import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.motion import landmarks, space
from jamflow_jax.motion.convert import convert, converter, known

LIPS = space.get("lips")


def test_liveportrait_opening_is_the_jaw_against_the_lip_line():
    s = space.get("liveportrait", mouth_keypoints="lip")
    x = np.zeros((3, 63), np.float32)
    x[:, s.columns(["kp19.y"])[0]] = [0.0, 0.01, 0.03]
    x[:, s.columns(["kp20.y"])[0]] = [0.0, 0.0, -0.01]
    x[:, s.columns(["kp14.y"])[0]] = [0.0, -0.02, 0.01]
    y = convert(x, s, LIPS)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, [[0, 0], [0.01, 0.01], [0.04, 0.0]], atol=1e-8)


def test_landmarks_in_either_number_of_axes():
    ids = [13, 14, 10, 152, 61, 291, 234, 454, 1]
    points = np.random.default_rng(0).normal(size=(4, 9, 3))
    expected = landmarks.lip_ratios(points, ids)
    for axes in ("xyz", "xy"):
        s = space.get("landmarks", ids=ids, mouth_ids=[13, 14], axes=axes)
        motion = points[..., : len(axes)].reshape(4, -1)
        np.testing.assert_allclose(convert(motion, s, LIPS), expected)


@pytest.mark.parametrize(
    "weights, opening, width",
    [
        ({"mouth_stretch_c": 0.5, "mouth_lipStretch_l": 0.4, "mouth_pucker_l": 0.1, "mouth_pucker_r": 0.3}, 0.5, 0.2),
        (
            {"jawOpen": 0.7, "mouthClose": 0.2, "mouthSmileLeft": 0.2, "mouthSmileRight": 0.4, "mouthPucker": 0.1},
            0.5,
            0.2,
        ),
        ({"jawOpen": 0.1, "mouthClose": 0.3, "browInnerUp": 1.0}, 0.0, 0.0),
        ({"browInnerUp": 1.0, "jawOpen": 0.25}, 0.25, 0.0),
    ],
)
def test_blendshapes(weights, opening, width):
    s = space.get("blendshapes", names=list(weights))
    x = np.array([list(weights.values()), [0.0] * len(weights)])
    np.testing.assert_allclose(convert(x, s, LIPS), [[opening, width], [0, 0]], atol=1e-12)


def test_same_family_by_name_whatever_the_split():
    a, b = space.get("liveportrait"), space.get("liveportrait", mouth_keypoints="all")
    x = np.random.default_rng(0).normal(size=(4, 63))
    assert convert(x, a, b) is x and convert(x[:, :2], LIPS, LIPS).shape == (4, 2)
    big, small = space.get("grid_landmarks"), space.get("landmarks", ids=[14, 13, 10])
    y = np.arange(183.0)[None]
    np.testing.assert_array_equal(convert(y, big, small)[0], y[0, big.columns(small.dims)])
    np.testing.assert_array_equal(convert(np.zeros((0, 183)), big, small), np.zeros((0, 9)))


def test_errors():
    lp, rig = space.get("liveportrait"), space.get("blendshapes", names=["mouth_a"])
    with pytest.raises(InputError, match="known: blendshapes to lips, landmarks to lips, liveportrait to lips"):
        converter(LIPS, lp)
    assert ("landmarks", "lips") in known()
    with pytest.raises(InputError, match="no 'kp.*|no 'pose.pitch'"):
        converter(lp, space.get("liveportrait", pose=True))
    with pytest.raises(InputError, match="no jaw opening"):
        convert(np.zeros((2, 1)), rig, LIPS)
    with pytest.raises(InputError, match=r"needs \[frames, 63\]"):
        convert(np.zeros((2, 62)), lp, LIPS)
    with pytest.raises(InputError, match="lacks 152"):
        convert(np.zeros((2, 180)), space.get("landmarks", ids=[i for i in space.GRID_LANDMARKS if i != 152]), LIPS)


def test_real_blendshapes(real_data):
    with np.load(real_data / "facegood_mandarin" / "1114_2_01.npz") as stored:
        weights, names = stored["bs"], stored["names"]
    s = space.get("blendshapes", names=names)
    chosen = {s.dims[i] for i in s.mouth}
    assert "mouth_stretch_c" in chosen and "jaw_thrust_c" in chosen and "brow_raise_c" not in chosen
    y = convert(weights, s, LIPS)
    np.testing.assert_array_equal(y[:, 0], weights[:, names.tolist().index("mouth_stretch_c")])
    assert y[:, 1].std() > 1e-3
