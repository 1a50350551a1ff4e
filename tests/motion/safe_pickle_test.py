"""Pickles: arrays in, nothing else, and nothing runs."""

import collections
import os
import pickle
import pickletools
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jamflow_jax.errors import InputError
from jamflow_jax.motion import safe_pickle

ARRAYS = hnp.arrays(
    st.sampled_from(["<f4", ">f4", "f8", "i2", "u1", "?"]), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | ARRAYS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)


def same(a, b):
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@settings(max_examples=150, deadline=None)
@given(PLAIN, st.sampled_from([2, 3, 4, 5]))
def test_plain_values_round_trip(value, protocol):
    assert same(value, safe_pickle.loads(pickle.dumps(value, protocol)))


def test_fortran_order_scalars_sharing_and_numpy_1_names():
    shared = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    value = {"a": [shared, shared], "b": np.float32(1.5), "c": (np.int64(3),)}
    for protocol in (2, 3, 4, 5):
        back = safe_pickle.loads(pickle.dumps(value, protocol))
        np.testing.assert_array_equal(back["a"][0], shared)
        assert back["a"][0] is back["a"][1] and back["a"][0].flags.writeable
        assert back["b"] == np.float32(1.5) and back["c"] == (3,)
    old = pickle.dumps(shared, 3).replace(b"numpy._core", b"numpy.core")
    np.testing.assert_array_equal(safe_pickle.loads(old), shared)


class _Runs:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nothing_malicious_runs(tmp_path, protocol):
    marker = tmp_path / "ran"
    module = os.system.__module__
    for function, argument, name in (
        (os.system, f"touch {marker}", f"{module}.system"),
        (eval, f"open({str(marker)!r}, 'w')", "eval"),
        (getattr, (1, "real"), "getattr"),
    ):
        path = tmp_path / "bad.pkl"
        attack = {
            "n": np.zeros(3),
            "motion": [_Runs(function, *(argument if isinstance(argument, tuple) else (argument,)))],
        }
        path.write_bytes(pickle.dumps(attack, protocol))
        with pytest.raises(InputError) as error:
            safe_pickle.load(path)
        message = str(error.value)
        assert str(path) in message and name in message and "\n" not in message
    assert not marker.exists()


@pytest.mark.parametrize(
    "value, message",
    [
        (np.array([None, "x"], dtype=object), "only numbers and booleans"),
        (np.zeros(2, [("a", "f4")]), "only numbers and booleans"),
        (np.array(["text"]), "only numbers and booleans"),
        (collections.OrderedDict(a=1), "collections.OrderedDict"),
        (np.ma.masked_array([1.0]), "numpy.ma"),
        ({1, 2}, "plain containers"),
        (np.ndarray, "plain containers"),
        (range(3), "range"),
    ],
)
def test_foreign_objects_are_refused(value, message):
    with pytest.raises(InputError, match=message):
        safe_pickle.loads(pickle.dumps(value, 4))


def test_containers_that_contain_themselves_and_bombs():
    loop = []
    loop.append(loop)
    with pytest.raises(InputError, match="contains itself"):
        safe_pickle.loads(pickle.dumps(loop))
    bomb = [0.0]
    for _ in range(200):
        bomb = [bomb, bomb]
    safe_pickle.loads(pickle.dumps(bomb))  # shared lists stay shared: 200 of them, not 2 ** 200
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    with pytest.raises(InputError, match="damaged"):
        safe_pickle.loads(deep)


def test_stand_ins_cannot_be_changed():
    """BUILD on a global sets attributes (here __defaults__); on a stand-in it is refused, whichever way it is spelt."""
    head = b"\x80\x02c_codecs\nencode\n"
    for state in (b"}X\x01\x00\x00\x00aK\x01s", b"N}X\x0c\x00\x00\x00__defaults__K\x01s\x86"):
        with pytest.raises(InputError, match="refused"):
            safe_pickle.loads(head + state + b"b.")


def test_other_doors():
    with pytest.raises(InputError, match="outside the file"):
        safe_pickle.loads(b"\x80\x02K\x01Q.")
    with pytest.raises(InputError, match="registered extension 7"):
        safe_pickle.loads(b"\x80\x02\x82\x07.")
    with pytest.raises(InputError, match="os.system"):
        safe_pickle.loads(b"\x80\x02(ios\nsystem\n.")
    with pytest.raises(InputError, match="encodes text"):
        safe_pickle.loads(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R.")
    with pytest.raises(InputError):  # a stand-in's own insides are not reachable by a dotted name
        safe_pickle.loads(b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.")


def test_an_array_larger_than_its_bytes_is_not_allocated():
    data = pickle.dumps(np.zeros((2, 3), np.float32), 3)
    assert b"K\x02K\x03\x86" in data
    huge = data.replace(b"K\x02K\x03\x86", b"J" + struct.pack("<i", 2**30) + b"J" + struct.pack("<i", 2**30) + b"\x86")
    with pytest.raises(InputError, match="has 24 bytes"):
        safe_pickle.loads(huge)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_give_one_error(data):
    good = bytearray(
        pickle.dumps(
            {"n_frames": 2, "motion": [{"exp": np.ones((1, 2), np.float32)}] * 2}, data.draw(st.sampled_from([2, 4]))
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            safe_pickle.loads(bytes(good[: data.draw(st.integers(0, len(good)))]))
        except InputError as error:
            assert "\n" not in str(error)


def test_files_that_are_something_else(tmp_path):
    for content in (b"", b"PK\x03\x04zip", pickle.dumps([1], 0), b"\x80\x09N."):
        path = tmp_path / "x.pkl"
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a pickle"):
            safe_pickle.load(path)
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match="more than 3 are not read"):
        safe_pickle.load(path, max_bytes=3)
    with pytest.raises(InputError, match="No such file"):
        safe_pickle.load(tmp_path / "none.pkl")


def test_real_templates_name_only_what_is_allowed(real_data):
    for path in sorted((real_data / "liveportrait_pkl").glob("*.pkl")):
        named, strings = set(), []
        for op, value, _ in pickletools.genops(path.read_bytes()):
            if isinstance(value, str):
                strings.append(value)
            if op.name == "STACK_GLOBAL":
                named.add(strings[-1])
        assert named <= {"_reconstruct", "ndarray", "dtype"}


def test_a_file_cut_short_is_said_to_be(tmp_path):
    whole = pickle.dumps({"a": np.zeros(1000)}, 3)
    (tmp_path / "a.pkl").write_bytes(whole[:500])
    with pytest.raises(InputError, match="a.pkl: a pickle file that is cut short"):
        safe_pickle.load(tmp_path / "a.pkl")
