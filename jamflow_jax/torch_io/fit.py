"""A checkpoint becomes parameters: every tensor accounted for by name and shape, and all that is wrong said at once.

Shapes are compared before any value is read. Each array of ours is then filled tensor by tensor, layer by layer: beside the
result, one tensor at a time is in memory.
"""
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from jamflow_jax.errors import InputError
from jamflow_jax.torch_io.files import FLOATS, Tensors
from jamflow_jax.torch_io.names import Name, torch_shape, turn

# What else people have: a pattern that one of its keys matches. The first that fits is taken.
_ARCHITECTURES = {
    "Vocos for EnCodec tokens": r"(^|\.)encodec\.|codebook_weights|norm\.scale\.weight",
    "Vocos": r"(^|[./])backbone\.(convnext\.\d+|embed)\.",
    "F5-TTS's MMDiT": r"(^|[./])transformer_blocks\.\d+\.attn_norm_[cx]\.",
    "F5-TTS's DiT": r"(^|[./])transformer_blocks\.\d+\.attn_norm\.linear\.",
    "E2-TTS (UNetT)": r"(^|[./])layers\.\d+\.\d+\.",
    "BigVGAN or HiFi-GAN": r"(^|[./])(ups|resblocks)\.\d+\.",
}


def fit(
    tensors: Tensors, keys: Mapping[str, str], names: Iterable[Name], shapes: Mapping[tuple[str, ...], tuple[int, ...]],
    what: str, hint: str = "",
) -> dict[str, Any]:
    """The parameter tree of a model from a checkpoint.

    Args:
      tensors: the open file.
      keys: names as the table has them -> names in the file; each must be used.
      names: the table.
      shapes: of our parameters, by path.
      what: the model, for messages.
      hint: about what the file holds instead, for messages.

    Returns:
      nested dictionaries of float32 arrays.

    Raises:
      InputError: tensors missing, left over, of another shape, no floating-point numbers or not finite; one line that names them.
    """
    names = list(names)
    problems = list(_misfits(tensors, keys, names, shapes))
    if not problems:
        params = {name.path: _read(tensors, keys, name, shapes[name.path], problems) for name in names}
        hint = ""
    if problems:
        raise InputError(f"{tensors.path}: does not fit {what}: {'; '.join(_grouped(problems))}{hint and f' ({hint})'}")
    return traverse_util.unflatten_dict(params)


def architecture(tensors: Tensors) -> str | None:
    """Whose checkpoint it is, by its keys; None if nobody's we know."""
    return next((name for name, mark in _ARCHITECTURES.items() if any(re.search(mark, key) for key in tensors.shapes)), None)


def refuse_others(tensors: Tensors, wanted: str) -> None:
    """Raises InputError for a checkpoint of a known architecture that is not `wanted`, or of none."""
    found = architecture(tensors)
    if found != wanted:
        first = ", ".join(sorted(tensors.shapes)[:3]) or "nothing"
        held = f"a checkpoint of {found}" if found else f"no architecture known here (it holds {first}, ...)"
        raise InputError(f"{tensors.path}: {held}, expected {wanted}")


def _rows(name: Name, shape: tuple[int, ...]) -> Iterator[list[str]]:
    """The keys of each layer."""
    for i in range(shape[0] if name.stacked else 1):
        yield [key.format(i=i) for key in name.keys]


def _misfits(tensors, keys, names, shapes) -> Iterator[tuple[str, str]]:
    used = set()
    for name in names:
        shape = shapes[name.path]
        wanted = torch_shape(name.kind, shape[1:] if name.stacked else shape)
        for key in (key for row in _rows(name, shape) for key in row):
            used.add(key)
            if key not in keys:
                yield key, "is missing"
            elif (found := tensors.shapes[keys[key]]) != wanted:
                yield key, f"has shape {found}, not {wanted}"
            elif (dtype := tensors.dtypes[keys[key]]) not in FLOATS:
                yield key, f"is {dtype}, not a floating-point tensor of {', '.join(FLOATS)}"
    yield from ((key, "is left over") for key in sorted(set(keys) - used))


def _grouped(problems: list[tuple[str, str]]) -> Iterator[str]:
    """One phrase for what is wrong with the same tensor of several layers: "blocks.{0-3,7}.weight is missing"."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for key, wrong in problems:
        before, number, after = (re.match(r"(.*?\.)(\d+)(\..*)", key) or re.match(r"(.*)()()", key)).groups()
        groups.setdefault((before, after, wrong), []).append(int(number or -1))
    for (before, after, wrong), layers in groups.items():
        runs = [[layers[0], layers[0]]]
        for layer in sorted(layers)[1:]:
            runs = [*runs[:-1], [runs[-1][0], layer]] if layer == runs[-1][1] + 1 else [*runs, [layer, layer]]
        shown = ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in runs)
        yield f"{before}{'' if layers == [-1] else shown if len(layers) == 1 else f'{{{shown}}}'}{after} {wrong}"


def _read(tensors, keys, name: Name, shape, problems: list[tuple[str, str]]) -> np.ndarray:
    value = np.empty(shape, np.float32)
    layers = value if name.stacked else value[None]
    for i, row in enumerate(_rows(name, shape)):
        parts = [tensors.read(keys[key]) for key in row]
        problems += [(key, "holds values that are not finite") for key, part in zip(row, parts) if not np.isfinite(part).all()]
        layers[i] = turn(name.kind, parts, layers.shape[1:])
    return value
