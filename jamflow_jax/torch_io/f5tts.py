"""F5-TTS checkpoints into Audio-DiT parameters.

The file does not say which version it is (v0 and v1 have the same keys and shapes): the F5-TTS config decides. It may hold the
average of the weights (EMA), the weights themselves, or both:

    .safetensors, average   ema_model.transformer.KEY                           as released
    .safetensors, raw       transformer.KEY  or  KEY
    .pt of the trainer      ema_model_state_dict/ema_model.transformer.KEY  and  model_state_dict/transformer.KEY
"""
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jaxtyping import Float

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.model.config import AudioConfig
from jamflow_jax.model.jamflow import init_audio
from jamflow_jax.torch_io.files import Tensors, open_checkpoint
from jamflow_jax.torch_io.fit import fit, refuse_others
from jamflow_jax.torch_io.names import BUFFERS, audio_names

LICENCE = "CC-BY-NC-4.0"  # of the weights F5-TTS has released; its code is MIT

# F5-TTS config field -> ours; the rest of its fields do not change what is computed at inference.
_FIELDS = {
    "dim": "width", "depth": "depth", "heads": "heads", "dim_head": "head_dim", "ff_mult": "ff_mult", "mel_dim": "mel_dim",
    "text_num_embeds": "text_vocab", "text_dim": "text_width", "conv_layers": "text_layers", "qk_norm": "qk_norm",
    "text_mask_padding": "text_mask_padding", "pe_attn_head": "rope_heads", "long_skip_connection": "long_skip",
    "dropout": "dropout",
}
_UPSAMPLING = "text_embedding_average_upsampling"
_IGNORED = {"attn_backend", "attn_mask_enabled", "checkpoint_activations", _UPSAMPLING}
_AVERAGED = ("ema_model_state_dict/ema_model.transformer.", "ema_model.transformer.")
_RAW = ("model_state_dict/transformer.", "online_model.transformer.", "transformer.")
_BOOKKEEPING = ("initted", "step")
_TABLE = "text_embed.text_embed.weight"


def audio_config(f5_config: Mapping[str, Any]) -> AudioConfig:
    """An F5-TTS `model.arch` mapping (plus mel_dim, text_num_embeds) as our config.

    Raises:
      ConfigError: a field F5-TTS's DiT does not have, or a value that cannot be computed here.
    """
    unknown = sorted(set(f5_config) - set(_FIELDS) - _IGNORED)
    if unknown:
        raise ConfigError(f"F5-TTS config: no such field {', '.join(unknown)}; known: {', '.join(sorted(_FIELDS))}")
    if f5_config.get(_UPSAMPLING):
        raise ConfigError(f"F5-TTS config: {_UPSAMPLING} is true: text spread over the speech is not computed here")
    try:
        return AudioConfig(**{_FIELDS[key]: value for key, value in f5_config.items() if key in _FIELDS})
    except ValueError as error:
        raise ConfigError(f"F5-TTS config: {error}") from None


def load(checkpoint_path: str | Path, f5_config: Mapping[str, Any], raw: bool = False) -> tuple[AudioConfig, dict]:
    """Reads a checkpoint, .safetensors or .pt.

    Args:
      checkpoint_path: the file.
      f5_config: the fields of F5-TTS's `model.arch`, with `mel_dim`; `text_num_embeds` is read from the file if left out.
      raw: the weights themselves instead of their average, where the file has both.

    Returns:
      the config and float32 parameters for `AudioDiT(config).apply({"params": params}, ...)`.

    Raises:
      ConfigError: a field F5-TTS's DiT does not have.
      InputError: not a checkpoint, of another model, or keys missing, left over, of another shape, no floating-point
        numbers or not finite: all are named in one line.
    """
    config = audio_config(f5_config)
    with open_checkpoint(checkpoint_path) as tensors:
        keys = _contents(tensors, raw).keys
        if "text_num_embeds" not in f5_config and _TABLE in keys:
            config = audio_config({**f5_config, "text_num_embeds": tensors.shapes[keys[_TABLE]][0] - 1})
        return config, _fit(tensors, keys, config)


def load_params(checkpoint_path: str | Path, config: AudioConfig, raw: bool = False) -> dict:
    """`load` for a config that is ours already."""
    with open_checkpoint(checkpoint_path) as tensors:
        return _fit(tensors, _contents(tensors, raw).keys, config)


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a checkpoint holds: `keys` maps names of the table to names of the file; what belongs nowhere is among them."""

    keys: Mapping[str, str]
    averaged: bool
    tables: tuple[str, ...]  # tensors that are no parameters; they are recomputed here
    others: Mapping[str, tuple[int, ...]]  # of the other set of weights, with their shapes
    licence: str
    tokenizer: str | None  # its kind, where the file says it, as exports of this project do


def contents(checkpoint_path: str | Path, raw: bool = False) -> Contents:
    """What `load` would take of a file and what it would leave. Raises InputError if it is no F5-TTS checkpoint."""
    with open_checkpoint(checkpoint_path) as tensors:
        return _contents(tensors, raw)


def extend_vocabulary(table_VC: Float[np.ndarray, "V C"], tokens: Sequence[str]) -> Float[np.ndarray, "V2 C"]:
    """The text embedding with one more row for each new token; the rows there are (the filler first) stay as they are, bit for bit.

    A new row is drawn around the mean of the old ones (without the filler), channel by channel with their standard deviation, from
    a seed that is the token itself: the same whatever else is added, and as large as what the text blocks have learnt to read.
    (F5-TTS's own finetuning draws N(0, 1) anew each time, whatever the scale of the trained rows.)
    """
    rows_VC = table_VC[1:].astype(np.float64)
    mean_C, std_C = rows_VC.mean(0), rows_VC.std(0)

    def row(token: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(token.encode()).digest()[:8], "little")
        return mean_C + std_C * np.random.default_rng(seed).standard_normal(len(mean_C))

    return np.concatenate([table_VC, *(row(token).astype(table_VC.dtype)[None] for token in tokens)])


def _contents(tensors: Tensors, raw: bool) -> Contents:
    refuse_others(tensors, "F5-TTS's DiT")
    there = tuple(prefix for prefix in (*_AVERAGED, *_RAW) if any(name.startswith(prefix) for name in tensors.shapes))
    wanted = [prefix for prefix in there if prefix in _RAW] if raw else there
    if there and not wanted:
        raise InputError(f"{tensors.path}: holds only the average (EMA) of the weights, not the raw ones")
    prefix = wanted[0] if wanted else ""
    keys, tables, others = {}, [], {}
    for name in tensors.shapes:
        bare = name.removeprefix(prefix).rpartition("/")[2].removeprefix("ema_model.").removeprefix("online_model.")
        if bare in (*BUFFERS, *_BOOKKEEPING):
            tables.append(name)
        elif name.startswith(prefix):
            keys[name.removeprefix(prefix)] = name
        elif name.startswith(there):
            others[name] = tensors.shapes[name]
        else:
            keys[f"{name} (without {prefix})"] = name
    licence = tensors.metadata.get("licence") or f"{LICENCE} (as released; the file does not say)"
    return Contents(keys, prefix in _AVERAGED, tuple(tables), others, licence, tensors.metadata.get("tokenizer"))


def _fit(tensors: Tensors, keys: Mapping[str, str], config: AudioConfig) -> dict:
    expected = nn.unbox(jax.eval_shape(lambda key: init_audio(config, key), jax.random.key(0)))
    shapes = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(expected).items()}
    return fit(tensors, keys, audio_names(config), shapes, "this F5-TTS config", _sizes(tensors, keys))


def _sizes(tensors: Tensors, keys: Mapping[str, str]) -> str:
    """What shapes tell about the model in the file."""
    shape = {key: tensors.shapes[name] for key, name in keys.items()}

    def count(stem: str) -> int:
        return len({key.removeprefix(stem).partition(".")[0] for key in keys if key.startswith(stem)})

    try:
        ff, width = shape["transformer_blocks.0.ff.ff.0.0.weight"]
        rows, text = shape[_TABLE]
    except (KeyError, ValueError):
        return ""
    return (
        f"the file has dim {width}, depth {count('transformer_blocks.')}, ff_mult {ff / width:g}, text_dim {text}, "
        f"conv_layers {count('text_embed.text_blocks.')}, text_num_embeds {rows - 1}"
    )
