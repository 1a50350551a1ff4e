"""Motion templates: both generations read and written back, and what we generate is complete."""

import dataclasses
import pickle
import pickletools
import warnings
from fractions import Fraction

import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.motion import pose, space, template
from jamflow_jax.motion.convert import convert
from jamflow_jax.motion.template import Template, read_template, write_template

LP = space.get("liveportrait")


def stored(generation="R", lists=True, keypoints=False, frames=5, fps=25, dtype=np.float32):
    """A template as LivePortrait would store it."""
    rng = np.random.default_rng(frames)
    rotation = pose.rotation(rng.uniform(-20, 20, (frames, 3))).astype(dtype)
    motion = []
    for i in range(frames):
        frame = {
            "scale": np.full((1, 1), 1.2, dtype),
            generation: rotation[i : i + 1]
            .transpose(0, 2, 1)
            .copy()
            .transpose(0, 2, 1),  # Fortran order, as the shipped ones
            "exp": rng.normal(0, 0.01, (1, 21, 3)).astype(dtype),
            "t": rng.normal(0, 0.1, (1, 3)).astype(dtype),
        }
        if keypoints:
            frame |= {"kp": rng.normal(size=(1, 21, 3)).astype(dtype), "x_s": rng.normal(size=(1, 21, 3)).astype(dtype)}
        motion.append(frame)
    result = {"n_frames": frames, "output_fps": fps, "motion": motion}
    if lists:
        d = "" if generation == "R" else "d_"
        result[f"c_{d}eyes_lst"] = [rng.uniform(size=(1, 2)).astype(dtype) for _ in range(frames)]
        result[f"c_{d}lip_lst"] = [rng.uniform(size=(1, 1)).astype(dtype) for _ in range(frames)]
    if fps is None:
        del result["output_fps"]
    return result


def save(path, value):
    path.write_bytes(pickle.dumps(value, 4))
    return path


def plain_load(path):
    with warnings.catch_warnings():  # numpy 2 calls numpy 1's module names deprecated
        warnings.simplefilter("ignore")
        return pickle.loads(path.read_bytes())


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert set(a) == set(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            assert_same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, strict=True)
    else:
        assert a == b


def written_equals_read(source, copy):
    write_template(copy, read_template(source))
    assert_same(plain_load(source), plain_load(copy))


@pytest.mark.parametrize("generation", ["R", "R_d"])
@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("keypoints", [True, False])
def test_round_trip(tmp_path, generation, lists, keypoints):
    written_equals_read(save(tmp_path / "a.pkl", stored(generation, lists, keypoints, fps=30)), tmp_path / "b.pkl")


@pytest.mark.parametrize("fps", [None, 20, 29.97])
def test_rates(tmp_path, fps):
    path = save(tmp_path / "a.pkl", stored(fps=fps, dtype=np.float64))
    written_equals_read(path, tmp_path / "b.pkl")
    assert read_template(path).fps == {None: 25, 20: 20, 29.97: Fraction(30000, 1001)}[fps]


def test_shipped_templates(real_data, tmp_path):
    paths = sorted((real_data / "liveportrait_pkl").glob("*.pkl"))
    assert len(paths) == 10
    generations = set()
    for path in paths:
        written_equals_read(path, tmp_path / path.name)
        read = read_template(path)
        generations.add(read.generation)
        motion = read.motion(LP)
        LP.check(motion)
        assert motion.shape == (read.n_frames, 63) and motion.dtype == np.float32
    assert generations == {"R", "R_d"}


def test_the_shipped_template_that_speaks_opens_as_measured(real_data):
    read = read_template(real_data / "liveportrait_pkl" / "d5.pkl")
    opening = convert(read.motion(LP), LP, space.get("lips"))[:, 0]
    assert np.corrcoef(opening, read.c_lip[:, 0])[0, 1] > 0.95
    again = Template.from_motion(read.motion(LP), LP)
    assert np.sqrt(np.mean((again.c_lip[1:] - read.c_lip) ** 2)) < 0.03


def test_motion_in_a_space():
    read = template._from_dict(stored())
    np.testing.assert_array_equal(read.motion(LP), read.exp.reshape(5, 63))
    posed = space.get("liveportrait", pose=True)
    motion = read.motion(posed)
    np.testing.assert_array_equal(motion[:, -1:], read.scale)
    back = Template.from_motion(motion, posed)
    np.testing.assert_allclose(back.R[1:], read.R, atol=1e-6)
    np.testing.assert_array_equal(back.t[1:, :2], read.t[:, :2])
    np.testing.assert_array_equal(back.scale[1:], read.scale)
    with pytest.raises(InputError, match="not motion of space lips"):
        read.motion(space.get("lips"))


def test_generated_motion_has_all_that_inference_reads(tmp_path):
    motion = np.random.default_rng(0).normal(0, 0.01, (8, 63)).astype(np.float32)
    path = tmp_path / "out.pkl"
    write_template(path, Template.from_motion(motion, LP))
    value = plain_load(path)
    assert set(value) == {"n_frames", "output_fps", "motion", "c_eyes_lst", "c_lip_lst"}
    assert value["n_frames"] == len(value["motion"]) == len(value["c_eyes_lst"]) == len(value["c_lip_lst"]) == 9
    assert value["output_fps"] == 25 and type(value["output_fps"]) is int
    for frame in value["motion"]:
        shapes = {key: array.shape for key, array in frame.items()}
        assert shapes == {"scale": (1, 1), "R": (1, 3, 3), "exp": (1, 21, 3), "t": (1, 3)}
        assert all(array.dtype == np.float32 for array in frame.values())
    assert value["c_eyes_lst"][0].shape == (1, 2) and value["c_lip_lst"][0].shape == (1, 1)
    np.testing.assert_array_equal(np.concatenate([f["exp"] for f in value["motion"][1:]]).reshape(8, 63), motion)
    first = value["motion"][0]["exp"][0]
    np.testing.assert_allclose(first[19], template.CLOSED_MOUTH[19], rtol=1e-6)  # mouth closed,
    rest = [k for k in range(21) if k not in space.MOUTH_KEYPOINTS]
    np.testing.assert_array_equal(first[rest], motion[0].reshape(21, 3)[rest])  # the rest as where the clip starts
    assert value["c_lip_lst"][0] == 0


@pytest.mark.parametrize("chosen", ["mouth", "lip", "all"])
def test_neutral_closes_only_what_is_generated(chosen):
    s = space.get("liveportrait", mouth_keypoints=chosen)
    motion = np.full((2, 63), 0.1, np.float32)
    first = Template.from_motion(motion, s).exp[0]
    closed = set(np.flatnonzero((first != np.float32(0.1)).any(1)))
    assert closed == set(space.MOUTH_KEYPOINTS if chosen == "mouth" else space.LIP_KEYPOINTS)


def test_what_is_known_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 0.01, (4, 63))
    R = pose.rotation(rng.uniform(-9, 9, (4, 3)))
    kp, neutral, t = rng.normal(size=(21, 3)), rng.normal(size=(21, 3)), np.array([0.1, 0.2, 0.3])
    made = Template.from_motion(
        motion, LP, R=R, t=t, scale=np.full(4, 1.5), kp=kp, neutral=neutral,
        c_eyes=rng.uniform(size=(4, 2)), c_lip=np.arange(4) / 10, generation="R_d",
    )  # fmt: skip
    np.testing.assert_allclose(made.exp[0], neutral, rtol=1e-6)
    np.testing.assert_array_equal(made.R[0], made.R[1])
    np.testing.assert_allclose(made.c_lip[:, 0], [0, 0, 0.1, 0.2, 0.3], atol=1e-7)
    expected = 1.5 * (kp @ R[2] + motion[2].reshape(21, 3)) + [0.1, 0.2, 0.0]
    np.testing.assert_allclose(made.x_s[3], expected, atol=1e-6)
    write_template(tmp_path / "x.pkl", made)
    value = plain_load(tmp_path / "x.pkl")
    assert set(value["motion"][0]) == {"scale", "R_d", "exp", "t", "kp", "x_s"} and "c_d_lip_lst" in value
    back = read_template(tmp_path / "x.pkl")
    for field in dataclasses.fields(Template):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(made, field.name))


def test_written_pickles_name_numpy_as_numpy_1_does_and_nothing_else(tmp_path):
    write_template(tmp_path / "x.pkl", Template.from_motion(np.zeros((3, 63)), LP))
    data = (tmp_path / "x.pkl").read_bytes()
    named = {value for op, value, _ in pickletools.genops(data) if op.name in ("GLOBAL", "STACK_GLOBAL", "INST")}
    assert named == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    assert [p.name for p in tmp_path.iterdir()] == ["x.pkl"]  # no partial file is left


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "x.pkl").mkdir()
    with pytest.raises(OSError):
        write_template(tmp_path / "x.pkl", Template.from_motion(np.zeros((3, 63)), LP))
    assert [p.name for p in tmp_path.iterdir()] == ["x.pkl"]


def _without(key):
    def change(value):
        for frame in value["motion"]:
            frame.pop(key, None)

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda v: v.pop("motion"), "no list 'motion'"),
        (lambda v: v.update(n_frames=4), "n_frames is 4 but motion has 5"),
        (lambda v: v.update(n_frames=0, motion=[]), "motion has no frame"),
        (lambda v: v["motion"].__setitem__(3, 7), r"motion\[3\].exp is missing"),
        (_without("exp"), r"motion\[0\].exp is missing"),
        (_without("R"), r"motion\[0\].R is missing"),
        (
            lambda v: v["motion"][2].update(exp=np.zeros((1, 20, 3), np.float32)),
            r"motion\[2\].exp is float32 \(1, 20, 3\)",
        ),
        (lambda v: v["motion"][2].update(t=np.zeros((1, 3), np.int32)), r"motion\[2\].t is int32"),
        (
            lambda v: v["motion"][4].update(t=np.full((1, 3), np.nan, np.float32)),
            r"motion\[4\].t has values that are not finite",
        ),
        (lambda v: v.update(c_lip_lst=v["c_lip_lst"][:2]), "c_lip_lst is not a list of 5"),
        (lambda v: v.update(output_fps="25"), "output_fps is '25'"),
        (lambda v: v.update(output_fps=-1), "frame rate -1"),
    ],
)
def test_errors_name_file_frame_and_key(tmp_path, change, message):
    value = stored()
    change(value)
    with pytest.raises(InputError, match=message) as error:
        read_template(save(tmp_path / "bad.pkl", value))
    assert "bad.pkl" in str(error.value) and "\n" not in str(error.value)


def test_malicious_template_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return print, ("ran",)

    value = stored()
    value["motion"][1]["exp"] = Attack()
    with pytest.raises(InputError, match=r"bad.pkl: refused: it names builtins.print"):
        read_template(save(tmp_path / "bad.pkl", value))


@pytest.mark.parametrize(
    "motion, options, message",
    [
        (np.zeros((3, 62)), {}, "needs \\[frames, 63\\]"),
        (np.full((3, 63), np.nan), {}, "not finite in frame 0"),
        (np.zeros((0, 63)), {}, "at least one frame"),
        (np.zeros((3, 63)), {"R": np.eye(4)}, "template R has shape"),
        (np.zeros((3, 63)), {"kp": np.zeros((2, 21, 3))}, "template kp has shape"),
        (np.zeros((3, 63)), {"c_lip": np.zeros(2)}, "template c_lip has shape"),
        (np.zeros((3, 63)), {"generation": "r"}, "neither 'R' nor 'R_d'"),
    ],
)
def test_bad_generated_motion(motion, options, message):
    with pytest.raises(InputError, match=message):
        Template.from_motion(motion, LP, **options)
