"""Motion spaces: names, the mouth/rest split, and errors that say what is wrong."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jamflow_jax.errors import InputError
from jamflow_jax.motion import space

ARKIT = ["eyeBlinkLeft", "jawOpen", "mouthClose", "mouthSmileLeft", "browInnerUp", "tongueOut", "cheekPuff"]


def test_liveportrait_default_is_the_papers_split():
    s = space.get("liveportrait")
    assert (s.dim, s.mouth_dim, s.rest_dim) == (63, 12, 51)
    assert s.dims[s.mouth[0]] == "kp14.x" and s.dims[s.mouth[-1]] == "kp20.z"
    assert s.dims[3 * 19 + 1] == "kp19.y"


@pytest.mark.parametrize("chosen, mouth", [("lip", 18), ((6, 12, 14, 17, 19, 20), 18), ("all", 63), ([19], 3)])
def test_liveportrait_mouth_keypoints(chosen, mouth):
    s = space.get("liveportrait", mouth_keypoints=chosen)
    assert s.mouth_dim == mouth and s.mouth_dim + s.rest_dim == 63


def test_liveportrait_pose_joins_what_is_generated():
    s = space.get("liveportrait", mouth_keypoints="all", pose=True)
    assert s.dim == s.mouth_dim == 69 and s.dims[-6:] == space.POSE_DIMS and s.rest == ()


def test_grid_landmarks():
    s = space.get("grid_landmarks")
    assert (s.name, s.dim, s.mouth_dim, s.rest_dim) == ("landmarks", 183, 120, 63)
    assert s.mouth == tuple(range(120)) and s.dims[:3] == ("lm0.x", "lm0.y", "lm0.z")


def test_landmarks_of_any_list():
    s = space.get("landmarks", ids=[33, 13, 263], mouth_ids=[13], axes="xy")
    assert s.dims == ("lm33.x", "lm33.y", "lm13.x", "lm13.y", "lm263.x", "lm263.y")
    assert s.mouth == (2, 3) and s.rest == (0, 1, 4, 5)


def test_blendshape_mouth_by_pattern_or_by_name():
    s = space.get("blendshapes", names=ARKIT)
    assert [s.dims[i] for i in s.mouth] == ["jawOpen", "mouthClose", "mouthSmileLeft", "tongueOut"]
    assert [s.dims[i] for i in s.rest] == ["eyeBlinkLeft", "browInnerUp", "cheekPuff"]
    s = space.get("blendshapes", names=np.array(ARKIT), mouth=["jawOpen"])
    assert s.mouth == (1,) and s.rest_dim == 6
    assert space.get("blendshapes", names=ARKIT, pattern="^eye").mouth == (0,)


def test_lips_has_no_rest():
    s = space.get("lips")
    assert s.dims == ("opening", "width") and s.rest == ()


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("liveportait", {}, "known: blendshapes, grid_landmarks, landmarks, lips, liveportrait"),
        ("liveportrait", {"mouth": (1,)}, "unexpected keyword argument 'mouth'"),
        ("liveportrait", {"mouth_keypoints": (21,)}, "21 is not one of the 21 keypoints"),
        ("liveportrait", {"mouth_keypoints": (1, 1)}, "listed twice"),
        ("liveportrait", {"mouth_keypoints": "lips"}, "not a list of keypoints"),
        ("liveportrait", {"mouth_keypoints": (1.5,)}, "not a list of whole numbers"),
        ("liveportrait", {"mouth_keypoints": ()}, "nothing to generate"),
        ("landmarks", {"ids": [1, 2], "mouth_ids": [3]}, "landmark 3 is not among the 2 ids"),
        ("landmarks", {"axes": "yx"}, "axes 'yx'"),
        ("blendshapes", {}, "missing a required argument: 'names'"),
        ("blendshapes", {"names": ["a", "a"], "mouth": ["a"]}, "'a' is named more than once"),
        ("blendshapes", {"names": ["brow"]}, "no blendshape matches"),
        ("blendshapes", {"names": ["jaw"], "pattern": "("}, "not a regular expression"),
        ("blendshapes", {"names": ["jaw"], "mouth": ["lip"]}, "no blendshape 'lip'"),
    ],
)
def test_errors_are_one_line_and_name_the_fault(name, options, message):
    with pytest.raises(InputError) as error:
        space.get(name, **options)
    assert message in str(error.value) and "\n" not in str(error.value)


@st.composite
def spaces(draw):
    dims = tuple(draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=8, unique=True)))
    order = draw(st.permutations(range(len(dims))))
    cut = draw(st.integers(1, len(dims)))
    end = draw(st.integers(cut, len(dims)))
    floor = draw(st.floats(0, 1))
    return space.MotionSpace(draw(st.text(max_size=5)), dims, tuple(order[:cut]), tuple(order[cut:end]), floor)


@given(spaces())
def test_json_and_split_round_trip(s):
    text = json.dumps(s.to_json())
    assert space.MotionSpace.from_json(json.loads(text)) == s == space.MotionSpace.from_json(text)
    assert hash(s) == hash(space.MotionSpace.from_json(text))
    x = np.arange(3.0 * s.dim).reshape(3, s.dim)
    mouth, rest = s.split(x)
    assert mouth.shape == (3, s.mouth_dim) and rest.shape == (3, s.rest_dim)
    whole = s.merge(mouth, rest, base=x[0])
    for i in (*s.mouth, *s.rest):
        np.testing.assert_array_equal(whole[:, i], x[:, i])
    np.testing.assert_array_equal(s.split(s.merge(mouth))[1], 0)


@pytest.mark.parametrize(
    "values", ["[]", "3", "{", {"name": "x"}, {"name": "x", "dims": ["a"], "mouth": [1], "rest": []}]
)
def test_from_json_refuses(values):
    with pytest.raises(InputError):
        space.MotionSpace.from_json(values)


def test_select_reorders_and_names_what_is_missing():
    s = space.get("lips")
    x = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(s.select(x, ["width", "other", "opening"]), [[3.0, 1.0]])
    with pytest.raises(InputError, match="lacks dimension 'width'"):
        s.select(x, ["opening", "a", "b"])
    with pytest.raises(InputError, match="does not fit its 2"):
        s.select(x, ["opening", "width"])


def test_check_names_the_frame():
    s = space.get("lips")
    s.check(np.zeros((4, 2), np.float32))
    with pytest.raises(InputError, match="clip7: width is not finite in frame 2"):
        s.check(np.where(np.arange(8).reshape(4, 2) == 5, np.nan, 0.0), "clip7")
    with pytest.raises(InputError, match=r"\[frames, 2\]"):
        s.check(np.zeros((4, 3)))


def test_grid_list_equals_the_files(real_data):
    first = sorted((real_data / "grid_s1" / "motion").glob("*.npz"))[0]
    assert tuple(np.load(first)["lmk_idx"].tolist()) == space.GRID_LANDMARKS
