"""Pickles of dictionaries, lists and numpy arrays, read without running anything they name.

A pickle is a program: it may call any importable function. This reader lets it name only what pickled arrays name, and none
of those names leads to numpy: each stands for a stand-in of ours that checks its arguments and takes the array's bytes as they
lie in the file. So nothing is allocated that the file does not contain, no object array or foreign class can appear, and any
other name is refused when it is named, which is before it could be called. pickle's own Python implementation is used: the C
one allocates memory by numbers in the file.
"""

import io
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from jamflow_jax.errors import InputError

MAX_BYTES = 1 << 29  # 512 MiB; an hour of LivePortrait motion is about 60 MiB
_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")


def load(path: str | Path, max_bytes: int = MAX_BYTES) -> Any:
    """The object in a pickle file: dict, list, tuple, str, bytes, numbers, bool, None and numpy arrays of numbers.

    Raises:
      InputError: no such file, larger than `max_bytes`, not a pickle of protocol 2 to 5, damaged, or naming anything but arrays;
        the message names the file, and the forbidden global.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise InputError(f"{path}: {size} bytes; more than {max_bytes} are not read")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    return loads(data, str(path))


def loads(data: bytes, name: str = "pickle") -> Any:
    """`load` of bytes; `name` stands in messages."""
    if len(data) < 4 or data[0] != 0x80 or not 2 <= data[1] <= 5:
        raise InputError(f"{name}: not a pickle file (of protocol 2 to 5)")
    if data[-1:] != b".":
        raise InputError(f"{name}: a pickle file that is cut short")
    try:
        return _plain(_Unpickler(io.BytesIO(data)).load(), {})
    except _Refused as refused:
        raise InputError(f"{name}: {refused}") from None
    except Exception as error:  # a damaged pickle can fail anywhere in the interpreter
        raise InputError(f"{name}: a damaged pickle ({type(error).__name__}: {str(error)[:120]})") from None


class _Refused(Exception):
    """The message is what the user reads."""


class _Unpickler(pickle._Unpickler):
    def __init__(self, file: io.BytesIO):
        # latin1: Python 2 wrote array data as str.
        super().__init__(file, fix_imports=False, encoding="latin1")

    def find_class(self, module: str, name: str) -> "_StandIn":
        if (module, name) not in _ALLOWED:
            raise _Refused(f"refused: it names {module}.{name}; only numpy arrays in plain containers are read")
        return _StandIn(_ALLOWED[module, name])

    def get_extension(self, code: int) -> None:
        raise _Refused(
            f"refused: it names the registered extension {code}; only numpy arrays in plain containers are read"
        )

    def persistent_load(self, pid: Any) -> None:
        raise _Refused("refused: it refers to objects outside the file")


class _StandIn:
    """What a pickle gets when it names an allowed global. It can be called and nothing else: no attribute can be set on it."""

    __slots__ = ("_function",)

    def __init__(self, function):
        object.__setattr__(self, "_function", function)

    def __call__(self, *args):
        return self._function(*args)

    def __setattr__(self, name, value):
        raise _Refused("refused: it sets an attribute of a function")

    def __setstate__(self, state):
        raise _Refused("refused: it sets an attribute of a function")


class _Dtype:
    __slots__ = ("value",)

    def __init__(self, code, align=False, copy=True):
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise _Refused(f"refused: an array of {str(code)[:40]!r}; only numbers and booleans are read")
        self.value = np.dtype(code)

    def __setstate__(self, state):
        order, rest = state[1], state[2:5]
        if order not in ("<", ">", "=", "|") or any(part is not None for part in rest):
            raise _Refused("refused: an array with fields; only numbers and booleans are read")
        self.value = self.value.newbyteorder(order)


class _Array:
    """An array being rebuilt: `value` is there once its state has been read."""

    __slots__ = ("value",)

    def __init__(self, *ignored):  # _reconstruct(ndarray, (0,), b"b") says nothing yet
        self.value = None

    def __setstate__(self, state):
        version, shape, dtype, fortran, data = state
        self.value = _from_bytes(data, dtype, shape, "F" if fortran else "C")


def _from_bytes(data, dtype, shape, order) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or order not in ("C", "F"):
        raise _Refused("refused: an array whose type is not a number or boolean")
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)):
        raise _Refused("refused: an array whose content is not bytes")
    if not isinstance(shape, tuple) or len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise _Refused("a damaged pickle: an array's shape is not a tuple of sizes")
    if math.prod(shape) * dtype.value.itemsize != len(data):
        raise _Refused(f"a damaged pickle: an array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(data, dtype.value).reshape(shape, order=order).copy(order="K")


def _frombuffer(data, dtype, shape, order):
    array = _Array()
    array.value = _from_bytes(data, dtype, shape, order)
    return array


def _scalar(dtype, data):
    array = _Array()
    array.value = _from_bytes(data, dtype, (), "C")[()]
    return array


def _encode(text, encoding="latin1"):
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused("refused: it encodes text in a way that arrays do not")
    return text.encode("latin1")


def _empty_bytes(*args):
    if args:
        raise _Refused("refused: it builds bytes in a way that arrays do not")
    return b""


_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,  # protocol 2 writes bytes so,
    ("codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty_bytes,  # and empty ones so
    ("builtins", "bytes"): _empty_bytes,
}
for _numpy in ("numpy.core", "numpy._core"):  # numpy 1 and 2
    _ALLOWED[f"{_numpy}.multiarray", "_reconstruct"] = _Array
    _ALLOWED[f"{_numpy}.multiarray", "scalar"] = _scalar
    _ALLOWED[f"{_numpy}.numeric", "_frombuffer"] = _frombuffer  # protocol 5


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """`value` with every rebuilt array in place of its stand-in; shared objects stay shared, cycles are refused."""
    kind = type(value)
    if kind in (str, bytes, bytearray, int, float, bool, type(None), complex):
        return value
    if id(value) in seen:
        if seen[id(value)] is _Refused:
            raise _Refused("refused: a container that contains itself")
        return seen[id(value)]
    seen[id(value)] = _Refused
    if kind is _Array:
        if value.value is None:
            raise _Refused("a damaged pickle: an array without content")
        plain = value.value
    elif kind is dict:
        plain = {_plain(k, seen): _plain(v, seen) for k, v in value.items()}
    elif kind in (list, tuple):
        plain = kind(_plain(v, seen) for v in value)
    else:
        raise _Refused("refused: only numpy arrays in plain containers are read")
    seen[id(value)] = plain
    return plain
