"""LivePortrait's released state dicts into parameters of jamflow_jax.face: every tensor accounted for, or nothing loaded.

What is folded on the way, all in float64:

    BatchNorm behind a convolution   kernel * s, (bias - mean) s + beta                     s = gamma / sqrt(var + 1e-5)
    BatchNorm before one             an affine: s, beta - mean s
    spectral norm                    weight_orig / (u^T W v), W = weight_orig as (out, everything else); u, v as they are stored
    gamma and beta of a SPADE        one convolution

`num_batches_tracked`, a counter, is ignored. The stitching file holds three networks, each key with a `module.` prefix.
"""
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jamflow_jax.errors import InputError
from jamflow_jax.face import appearance, generator, motion, stitching, warping

# Network -> its file, in the folders of the release; a flat folder is read too.
FILES = {
    "appearance": "base_models/appearance_feature_extractor.pth",
    "motion": "base_models/motion_extractor.pth",
    "warping": "base_models/warping_module.pth",
    "generator": "base_models/spade_generator.pth",
    "stitching": "retargeting_models/stitching_retargeting_module.pth",
}
_STITCHING = {"stitching": "retarget_shoulder", "lip": "retarget_mouth", "eye": "retarget_eye"}
_NORM = ("weight", "bias", "running_mean", "running_var")
_SHOWN = 12  # problems told in full
State = Mapping[str, np.ndarray]


class Row(NamedTuple):
    """A module of ours at `path` and the module(s) `keys` of PyTorch that it comes from; `norm`: a BatchNorm folded into it."""

    kind: str  # conv, spectral, linear, affine, layernorm, grn
    path: tuple[str, ...]
    keys: tuple[str, ...]
    norm: str = ""


def load(folder: str | Path, networks: tuple[str, ...] = tuple(FILES)) -> dict[str, Any]:
    """{network: float32 parameters} from a folder of the released files.

    Args:
      folder: the release's `liveportrait` folder, or one with the files side by side; .safetensors of the same names will do.
      networks: those needed (FILES).

    Returns:
      parameters for `face.appearance.Appearance` and so on; "stitching" holds those of its three networks by name.

    Raises:
      InputError: files missing (all are named, with where they go), or one that does not fit its network.
    """
    from jamflow_jax.torch_io.files import open_checkpoint

    paths = find(folder, networks)
    params = {}
    for network, path in paths.items():
        with open_checkpoint(path) as tensors:
            params[network] = convert(network, tensors.shapes, tensors.read, str(path))
    return params


def find(folder: str | Path, networks: tuple[str, ...] = tuple(FILES)) -> dict[str, Path]:
    """{network: its file}. Raises InputError naming every file that is missing and where it goes."""
    found, missing = {}, []
    for network in networks:
        name = Path(FILES[network])
        places = [Path(folder) / part.with_suffix(end) for part in (name, Path(name.name)) for end in (".pth", ".safetensors")]
        there = [place for place in places if place.is_file()]
        if there:
            found[network] = there[0]
        else:
            missing.append(str(name))
    if missing:
        raise InputError(
            f"{folder}: LivePortrait's weights are missing: {', '.join(missing)}; put the files of "
            f"huggingface.co/KwaiVGI/LivePortrait, folder liveportrait, there (docs/faces.md)"
        )
    return found


def convert(
    network: str, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], np.ndarray], where: str = "the state dict"
) -> dict[str, Any]:
    """Parameters from a state dict given by the shapes of its tensors and a function that reads one.

    Raises:
      InputError: tensors missing, left over, of another shape or not finite: one line that names them and, where it is
        another of the five networks, says so.
    """
    names = {re.sub(r"(^|/)module\.", r"\1", key): key for key in shapes if not key.endswith("num_batches_tracked")}
    ours = template(network)
    leaves = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(ours).items()}
    problems, params, used = [], {}, set()
    for row in rows(network):
        wanted = wanted_shapes(row, leaves)
        used |= set(wanted)
        bad = [problem for key, shape in wanted.items() if (problem := _misfit(key, shape, names, shapes))]
        problems += bad
        if not bad:
            tensors = {key: np.asarray(read(names[key]), np.float64) for key in wanted}
            unfit = [f"{key} holds values that are not finite" for key, tensor in tensors.items() if not np.isfinite(tensor).all()]
            problems += unfit
            if not unfit:
                params |= {(*row.path, leaf): value.astype(np.float32) for leaf, value in _turn(row, tensors).items()}
    problems += [f"{key} is left over" for key in sorted(set(names) - used)]
    if problems:
        other = next((n for n in FILES if n != network and set(_all_keys(n)) <= set(names)), None)
        shown = "; ".join(problems[:_SHOWN]) + (f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else "")
        if other is not None:
            shown = f"it holds the {other} network ({Path(FILES[other]).name})"
        raise InputError(f"{where}: does not fit LivePortrait's {network} network: {shown}")
    assert {path: value.shape for path, value in params.items()} == leaves, "the table of names and the modules differ"
    return traverse_util.unflatten_dict(params)


def _misfit(key: str, wanted: tuple[int, ...], names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> str:
    if key not in names:
        return f"{key} is missing"
    found = tuple(shapes[names[key]])
    return "" if found == wanted else f"{key} has shape {found}, not {wanted}"


@functools.cache
def template(network: str) -> dict[str, Any]:
    """The shapes of a network's parameters, as a tree."""
    key = jax.random.key(0)
    if network == "stitching":
        trees = {}
        for name, size in stitching.INPUTS.items():
            mlp = stitching.KeypointMlp(name)
            trees[name] = jax.eval_shape(mlp.init, key, jnp.zeros((1, size)))["params"]
        return trees
    points, image = jnp.zeros((1, motion.KEYPOINTS, 3)), jnp.zeros((1, 256, 256, 3))
    module, inputs = {
        "appearance": (appearance.Appearance(), (image,)),
        "motion": (motion.Motion(), (image,)),
        "warping": (warping.Warping(), (jnp.zeros((1, appearance.DEPTH, 64, 64, appearance.CHANNELS)), points, points)),
        "generator": (generator.Generator(), (jnp.zeros((1, 64, 64, warping.FEATURES)),)),
    }[network]
    return jax.eval_shape(module.init, key, *inputs)["params"]


def _all_keys(network: str) -> list[str]:
    leaves = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(template(network)).items()}
    return [key for row in rows(network) for key in wanted_shapes(row, leaves)]


def rows(network: str) -> Iterator[Row]:
    """The table of names of a network."""
    return {"appearance": _appearance, "motion": _motion, "warping": _warping, "generator": _generator, "stitching": _stitching}[
        network
    ]()


def _appearance() -> Iterator[Row]:
    yield Row("conv", ("first",), ("first.conv",), "first.norm")
    for i in range(2):
        yield Row("conv", (f"down_{i}",), (f"down_blocks.{i}.conv",), f"down_blocks.{i}.norm")
    yield Row("conv", ("second",), ("second",))
    for i in range(appearance.BLOCKS):
        ours, theirs = f"block_{i}", f"resblocks_3d.3dr{i}"
        yield Row("affine", (ours, "norm"), (f"{theirs}.norm1",))
        yield Row("conv", (ours, "conv_0"), (f"{theirs}.conv1",), f"{theirs}.norm2")
        yield Row("conv", (ours, "conv_1"), (f"{theirs}.conv2",))


def _motion() -> Iterator[Row]:
    for stage, depth in enumerate(motion.DEPTHS):
        conv, norm = (0, 1) if stage == 0 else (1, 0)
        theirs = f"detector.downsample_layers.{stage}"
        yield Row("conv", (f"down_{stage}",), (f"{theirs}.{conv}",))
        yield Row("layernorm", (f"norm_{stage}",), (f"{theirs}.{norm}",))
        for i in range(depth):
            ours, theirs = f"stage_{stage}_{i}", f"detector.stages.{stage}.{i}"
            yield Row("conv", (ours, "depthwise"), (f"{theirs}.dwconv",))
            yield Row("layernorm", (ours, "norm"), (f"{theirs}.norm",))
            yield Row("linear", (ours, "in"), (f"{theirs}.pwconv1",))
            yield Row("grn", (ours,), (f"{theirs}.grn",))
            yield Row("linear", (ours, "out"), (f"{theirs}.pwconv2",))
    yield Row("layernorm", ("norm",), ("detector.norm",))
    for head in motion.HEADS:
        yield Row("linear", (head,), (f"detector.fc_{head}",))


def _warping() -> Iterator[Row]:
    dense = "dense_motion_network"
    yield Row("conv", ("compress",), (f"{dense}.compress",), f"{dense}.norm")
    for ours, theirs in (("down", "encoder.down_blocks"), ("up", "decoder.up_blocks")):
        for i in range(len(warping.DOWN)):
            block = f"{dense}.hourglass.{theirs}.{i}"
            yield Row("conv", ("hourglass", f"{ours}_{i}"), (f"{block}.conv",), f"{block}.norm")
    block = f"{dense}.hourglass.decoder"
    yield Row("conv", ("hourglass", "out"), (f"{block}.conv",), f"{block}.norm")
    yield Row("conv", ("mask",), (f"{dense}.mask",))
    yield Row("conv", ("occlusion",), (f"{dense}.occlusion",))
    yield Row("conv", ("third",), ("third.conv",), "third.norm")
    yield Row("conv", ("fourth",), ("fourth",))


def _generator() -> Iterator[Row]:
    yield Row("conv", ("first",), ("fc",))
    blocks = {f"middle_{i}": f"G_middle_{i}" for i in range(generator.MIDDLE)} | {"up_0": "up_0", "up_1": "up_1"}
    for ours, theirs in blocks.items():
        for norm in ("norm_0", "norm_1") + (("norm_s",) if ours == theirs else ()):
            yield Row("conv", (ours, norm, "shared"), (f"{theirs}.{norm}.mlp_shared.0",))
            yield Row("conv", (ours, norm, "gamma_beta"), (f"{theirs}.{norm}.mlp_gamma", f"{theirs}.{norm}.mlp_beta"))
        for conv in ("conv_0", "conv_1") + (("conv_s",) if ours == theirs else ()):
            yield Row("spectral", (ours, conv), (f"{theirs}.{conv}",))
    yield Row("conv", ("image",), ("conv_img.0",))


def _stitching() -> Iterator[Row]:
    for ours, theirs in _STITCHING.items():
        for i in range(len(stitching.WIDTHS[ours])):
            yield Row("linear", (ours, f"linear_{i}"), (f"{theirs}/mlp.{2 * i}",))


def wanted_shapes(row: Row, leaves: Mapping[tuple[str, ...], tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """{state-dict key: shape} of a row."""
    if row.kind == "grn":
        shape = (1, 1, 1, *leaves[(*row.path, "grn_gamma")])
        return {f"{row.keys[0]}.{leaf}": shape for leaf in ("gamma", "beta")}
    if row.kind in ("affine", "layernorm"):
        return {f"{row.keys[0]}.{leaf}": leaves[(*row.path, "scale")] for leaf in (_NORM if row.kind == "affine" else _NORM[:2])}
    kernel = leaves[(*row.path, "kernel")]
    channels = kernel[-1] // len(row.keys)
    if row.kind == "linear":
        weight = (channels, kernel[0])
    else:  # ours is [kh, kw, in, (kd,) out]
        weight = (channels, kernel[2], *kernel[3:-1], *kernel[:2])
    wanted = {}
    for key in row.keys:
        if row.kind == "spectral":
            wanted |= {f"{key}.weight_orig": weight, f"{key}.weight_u": weight[:1], f"{key}.weight_v": (int(np.prod(weight[1:])),)}
        else:
            wanted[f"{key}.weight"] = weight
        if (*row.path, "bias") in leaves:
            wanted[f"{key}.bias"] = (channels,)
    return wanted | ({f"{row.norm}.{leaf}": (channels,) for leaf in _NORM} if row.norm else {})


def _turn(row: Row, tensors: State) -> dict[str, np.ndarray]:
    """The leaves of a row's module."""
    (first, *_) = row.keys
    if row.kind == "grn":
        return {f"grn_{leaf}": tensors[f"{first}.{leaf}"].reshape(-1) for leaf in ("gamma", "beta")}
    if row.kind == "layernorm":
        return {"scale": tensors[f"{first}.weight"], "bias": tensors[f"{first}.bias"]}
    if row.kind == "affine":
        scale, bias = _batch_norm(tensors, first)
        return {"scale": scale, "bias": bias}
    weights = [_weight(row, tensors, key) for key in row.keys]
    weight = weights[0] if len(weights) == 1 else np.concatenate(weights)
    biases = [tensors[f"{key}.bias"] for key in row.keys if f"{key}.bias" in tensors]
    bias = np.concatenate(biases) if biases else None
    if row.norm:
        scale, shift = _batch_norm(tensors, row.norm)
        weight, bias = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), bias * scale + shift
    order = {2: (1, 0), 4: (2, 3, 1, 0), 5: (3, 4, 1, 2, 0)}[weight.ndim]
    return {"kernel": weight.transpose(order)} | ({} if bias is None else {"bias": bias})


def _weight(row: Row, tensors: State, key: str) -> np.ndarray:
    if row.kind != "spectral":
        return tensors[f"{key}.weight"]
    weight = tensors[f"{key}.weight_orig"]
    sigma = tensors[f"{key}.weight_u"] @ weight.reshape(len(weight), -1) @ tensors[f"{key}.weight_v"]
    return weight / sigma


def _batch_norm(tensors: State, key: str) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (tensors[f"{key}.{leaf}"] for leaf in _NORM)
    scale = gamma / np.sqrt(variance + 1e-5)
    return scale, beta - mean * scale
