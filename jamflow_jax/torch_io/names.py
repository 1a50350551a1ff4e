"""One table of names: where each parameter of ours lives in a PyTorch state dict, and how its axes turn.

    kind     ours                        PyTorch
    linear   [in, out]                   (out, in)
    conv     [width, in / groups, out]   (out, in / groups, width)
    qkv      [in, heads, 3 * head]       three (heads * head, in): to_q, to_k, to_v
    qkv_bias [heads, 3 * head]           three (heads * head)
    same     any                         the same
    grn      [C]                         (1, 1, C)

Parameters of the layers are stacked on a leading axis here and numbered (`{i}`) there.
"""
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jamflow_jax.model.config import AudioConfig, MotionConfig, TrunkConfig

# Entries of a state dict that are no parameters: tables recomputed here, and the mel front ends of F5-TTS and Vocos.
BUFFERS = ("rotary_embed.inv_freq", "mel_spec.mel_stft.mel_scale.fb", "mel_spec.mel_stft.spectrogram.window")
VOCOS_BUFFERS = (
    "head.istft.window", "feature_extractor.mel_spec.spectrogram.window", "feature_extractor.mel_spec.mel_scale.fb"
)  # fmt: skip


class Name(NamedTuple):
    """`path` in our tree, the state-dict keys it comes from (one, or three for qkv), the kind of turn, stacked over layers?"""

    path: tuple[str, ...]
    keys: tuple[str, ...]
    kind: str
    stacked: bool = False


def torch_shape(kind: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that PyTorch gives each tensor of an array of `shape` (of one layer, if stacked)."""
    match kind:
        case "linear" | "conv":
            return tuple(reversed(shape))
        case "qkv":
            return (math.prod(shape[1:]) // 3, shape[0])
        case "qkv_bias":
            return (math.prod(shape) // 3,)
        case "grn":
            return (1, 1, *shape)
    return tuple(shape)


def turn(kind: str, tensors: Sequence[np.ndarray], shape: Sequence[int]) -> np.ndarray:
    """PyTorch's tensors of one row of the table (of one layer, if stacked) -> our array of `shape`."""
    if kind in ("qkv", "qkv_bias"):
        return np.concatenate([tensor.T.reshape(*shape[:-1], shape[-1] // 3) for tensor in tensors], axis=-1)
    (tensor,) = tensors
    return tensor.T if kind in ("linear", "conv") else tensor.reshape(shape)


def turn_back(kind: str, value: np.ndarray) -> list[np.ndarray]:
    """Our array (of one layer, if stacked) -> PyTorch's tensors of one row of the table: the inverse of `turn`."""
    if kind in ("qkv", "qkv_bias"):
        shape = torch_shape(kind, value.shape)
        return [part.reshape(*shape[::-1]).T for part in np.split(value, 3, axis=-1)]
    return [value.T if kind in ("linear", "conv") else value.reshape(torch_shape(kind, value.shape))]


def audio_names(config: AudioConfig) -> Iterator[Name]:
    """The table for an Audio-DiT of this shape: F5-TTS's DiT."""
    yield Name(("text", "table"), ("text_embed.text_embed.weight",), "same")
    for i in range(config.text_layers):
        ours, theirs = ("text", f"block_{i}"), f"text_embed.text_blocks.{i}"
        yield from _linear((*ours, "depthwise"), f"{theirs}.dwconv", "conv")
        yield from _norm((*ours, "norm"), f"{theirs}.norm")
        yield from _linear((*ours, "in"), f"{theirs}.pwconv1")
        yield Name((*ours, "grn_gamma"), (f"{theirs}.grn.gamma",), "grn")
        yield Name((*ours, "grn_beta"), (f"{theirs}.grn.beta",), "grn")
        yield from _linear((*ours, "out"), f"{theirs}.pwconv2")
    yield from _trunk(config)


def motion_names(config: MotionConfig) -> Iterator[Name]:
    """The table for a Motion-DiT of this shape, whose PyTorch names are F5-TTS's for the same parts."""
    yield from _trunk(config)


def _trunk(config: TrunkConfig) -> Iterator[Name]:
    yield from _linear(("time", "in"), "time_embed.time_mlp.0")
    yield from _linear(("time", "out"), "time_embed.time_mlp.2")
    yield from _linear(("input", "proj"), "input_embed.proj")
    yield from _linear(("input", "conv_0"), "input_embed.conv_pos_embed.conv1d.0", "conv")
    yield from _linear(("input", "conv_1"), "input_embed.conv_pos_embed.conv1d.2", "conv")
    yield from _layers(config)
    if config.long_skip:
        yield Name(("skip", "kernel"), ("long_skip_connection.weight",), "linear")
    yield from _linear(("norm_out",), "norm_out.linear")
    yield from _linear(("proj_out",), "proj_out")


def vocos_names() -> Iterator[Name]:
    """The table for a Vocos with a mel front end and an inverse-transform head, of any size."""
    yield from _linear(("embed",), "backbone.embed", "conv")
    for ours, theirs in (("norm", "backbone.norm"), ("norm_out", "backbone.final_layer_norm")):
        yield from _norm((ours,), theirs)
    ours, theirs = ("layers",), "backbone.convnext.{i}"
    yield from _linear((*ours, "depthwise"), f"{theirs}.dwconv", "conv", stacked=True)
    yield from _norm((*ours, "norm"), f"{theirs}.norm", stacked=True)
    yield from _linear((*ours, "in"), f"{theirs}.pwconv1", stacked=True)
    yield from _linear((*ours, "out"), f"{theirs}.pwconv2", stacked=True)
    yield Name((*ours, "gamma"), (f"{theirs}.gamma",), "same", True)
    yield from _linear(("head",), "head.out")


def _layers(config: TrunkConfig) -> Iterator[Name]:
    ours, theirs = ("stack", "layers"), "transformer_blocks.{i}"
    heads = tuple(f"{theirs}.attn.to_{part}" for part in "qkv")
    yield Name((*ours, "qkv", "kernel"), tuple(f"{key}.weight" for key in heads), "qkv", True)
    yield Name((*ours, "qkv", "bias"), tuple(f"{key}.bias" for key in heads), "qkv_bias", True)
    if config.qk_norm:
        yield Name((*ours, "qkv", "q_norm", "scale"), (f"{theirs}.attn.q_norm.weight",), "same", True)
        yield Name((*ours, "qkv", "k_norm", "scale"), (f"{theirs}.attn.k_norm.weight",), "same", True)
    for part, key in (("modulation", "attn_norm.linear"), ("out", "attn.to_out.0"), ("ff_in", "ff.ff.0.0"), ("ff_out", "ff.ff.2")):
        yield from _linear((*ours, part), f"{theirs}.{key}", stacked=True)


def _linear(path: tuple[str, ...], key: str, kind: str = "linear", stacked: bool = False) -> Iterator[Name]:
    yield Name((*path, "kernel"), (f"{key}.weight",), kind, stacked)
    yield Name((*path, "bias"), (f"{key}.bias",), "same", stacked)


def _norm(path: tuple[str, ...], key: str, stacked: bool = False) -> Iterator[Name]:
    yield Name((*path, "scale"), (f"{key}.weight",), "same", stacked)
    yield Name((*path, "bias"), (f"{key}.bias",), "same", stacked)
