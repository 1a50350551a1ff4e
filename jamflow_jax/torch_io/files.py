"""Checkpoint files, tensor by tensor: .safetensors without PyTorch, PyTorch's own (.pt, .bin) without running anything in them.

What a file is is told by its first bytes, not by its name. Names and shapes are known once it is open, values are read one at a
time, so that loading needs little more memory than what is made of it. A PyTorch file is a pickle: it is read with
`weights_only`, which knows tensors and plain containers and refuses everything else.
"""
import contextlib
import dataclasses
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from jamflow_jax.errors import InputError

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # PyTorch since 1.6, and before
FLOATS = ("float16", "bfloat16", "float32", "float64")
# What Lightning, DDP and torch.compile put before the names.
_WRAPPERS = re.compile(r"^state_dict/|(?:(?<=^)|(?<=/)|(?<=_model\.))(?:(?:module|_orig_mod)\.)+")
_SHARD = re.compile(r"-\d+-of-(\d+)\.\w+$|\.index\.json$")
_LFS = b"version https://git-lfs"


@dataclasses.dataclass(frozen=True)
class Tensors:
    """An open checkpoint: `shapes` and `dtypes` by name, and `read(name)`, which gives float32.

    Nested dictionaries are "outer/inner"; `module.`, `_orig_mod.` and `state_dict/`, which wrap a model, are taken off. Only
    tensors of `FLOATS` are weights.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    dtypes: Mapping[str, str]  # float32, int8, ...; of a tensor that is not strided "sparse_coo float32"
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Tensors]:
    """Opens a checkpoint for as long as the block runs.

    Raises:
      InputError: no such file; neither format; cut short; a pickle that names more than tensors; a PyTorch file without PyTorch.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            first = file.read(32)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint file") from None
    except OSError as error:
        raise InputError(f"{path}: not a checkpoint file ({error.strerror})") from None
    if first.startswith(_LFS):
        raise InputError(f"{path}: only a Git LFS pointer to the file, which is still to be downloaded (git lfs pull)")
    if (shard := _SHARD.search(path.name)) and int(shard[1] or 2) > 1:
        what = "a shard" if shard[1] else "the index"
        raise InputError(f"{path}: only {what} of a checkpoint in several files; merge it into one file first")
    if first.startswith((_ZIP, _PICKLE)):
        yield _unwrapped(_open_torch(path, zipped=first.startswith(_ZIP)))
        return
    if first[8:9] != b"{":  # behind eight bytes that say how long the list of tensors is
        raise InputError(f"{path}: neither a safetensors nor a PyTorch file")
    try:
        file = safe_open(path, "np")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cut short or damaged, not a readable safetensors file ({_first_line(error)})") from None
    with file:
        slices = {key: file.get_slice(key) for key in file.keys()}
        shapes = {key: tuple(part.get_shape()) for key, part in slices.items()}
        dtypes = {key: _dtype(part.get_dtype()) for key, part in slices.items()}
        read = lambda key: file.get_tensor(key).astype(np.float32, copy=False)  # noqa: E731
        yield _unwrapped(Tensors(path, shapes, read, dtypes, file.metadata() or {}))


def _open_torch(path: Path, zipped: bool) -> Tensors:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path}: a PyTorch file, which needs PyTorch to be read: pip install 'jamflow-jax[torch]', or take a .safetensors"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)|reduce for unrecognized function <[\w-]+ ([\w.]+)", str(error))
        named = f"it names {found[1] or found[2]}" if found else "a pickle that PyTorch did not save"
        raise InputError(f"{path}: refused: {named}; only tensors in plain containers are read") from None
    except Exception as error:  # a damaged file can fail anywhere in PyTorch
        raise InputError(f"{path}: cut short or damaged, not a readable PyTorch file ({_first_line(error)})") from None
    tensors = dict(_flatten(content, torch.Tensor))
    dtypes = {name: str(t.dtype).removeprefix("torch.") for name, t in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided:
            dtypes[name] = f"{str(tensor.layout).removeprefix('torch.')} {dtypes[name]}"
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return Tensors(path, shapes, lambda name: tensors[name].detach().float().numpy(), dtypes)


def _unwrapped(tensors: Tensors) -> Tensors:
    """The names without what wrapped the model when it was saved; as they are, if two would become one."""
    names = {_WRAPPERS.sub("", name): name for name in tensors.shapes}
    if len(names) < len(tensors.shapes):
        return tensors
    shapes, dtypes = ({name: of[old] for name, old in names.items()} for of in (tensors.shapes, tensors.dtypes))
    return dataclasses.replace(tensors, shapes=shapes, dtypes=dtypes, read=lambda name: tensors.read(names[name]))


def _dtype(code: str) -> str:
    """The name of a safetensors dtype: BF16 -> bfloat16, I8 -> int8, F8_E4M3 -> float8_e4m3."""
    kinds = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint", "C": "complex"}
    return re.sub(r"^(F|BF|I|U|C)(?=\d)", lambda found: kinds[found[1]], code).lower()


def _flatten(content: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """The tensors of a state dict, or of the state dicts in a trainer's file; optimiser states are nested deeper."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, kind):
            yield str(name), value
        elif isinstance(value, dict):
            yield from ((f"{name}/{key}", part) for key, part in value.items() if isinstance(part, kind))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].split(". ")[0][:160]
