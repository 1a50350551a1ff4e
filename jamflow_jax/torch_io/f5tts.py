"""F5-TTS checkpoints into Audio-DiT parameters: every tensor accounted for by name and shape, or nothing loaded.

The checkpoint does not say which version it is (v0 and v1 have the same keys and shapes): the F5-TTS config decides.
"""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util
from safetensors import SafetensorError, safe_open

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.model.config import AudioConfig
from jamflow_jax.model.jamflow import init_audio
from jamflow_jax.torch_io.names import BUFFERS, audio_names, turn

# F5-TTS config field -> ours; the rest of its fields do not change what is computed at inference.
_FIELDS = {
    "dim": "width", "depth": "depth", "heads": "heads", "dim_head": "head_dim", "ff_mult": "ff_mult", "mel_dim": "mel_dim",
    "text_num_embeds": "text_vocab", "text_dim": "text_width", "conv_layers": "text_layers", "qk_norm": "qk_norm",
    "text_mask_padding": "text_mask_padding", "pe_attn_head": "rope_heads", "long_skip_connection": "long_skip",
    "dropout": "dropout",
}
_IGNORED = {"attn_backend", "attn_mask_enabled", "checkpoint_activations"}
_PREFIXES = ("ema_model.transformer.", "transformer.", "")


def audio_config(f5_config: Mapping[str, Any]) -> AudioConfig:
    """An F5-TTS `model.arch` mapping (plus mel_dim, text_num_embeds) as our config.

    Raises:
      ConfigError: a field F5-TTS's DiT does not have.
    """
    unknown = sorted(set(f5_config) - set(_FIELDS) - _IGNORED)
    if unknown:
        raise ConfigError(f"F5-TTS config: no such field {', '.join(unknown)}; known: {', '.join(sorted(_FIELDS))}")
    return AudioConfig(**{_FIELDS[key]: value for key, value in f5_config.items() if key in _FIELDS})


def load(checkpoint_path: str | Path, f5_config: Mapping[str, Any]) -> tuple[AudioConfig, dict]:
    """Reads a .safetensors checkpoint (EMA or raw, with or without the `ema_model.transformer.` prefix).

    Args:
      checkpoint_path: the file.
      f5_config: the fields of F5-TTS's `model.arch`, with `mel_dim` and `text_num_embeds`.

    Returns:
      the config and float32 parameters for `AudioDiT(config).apply({"params": params}, ...)`.

    Raises:
      InputError: not a checkpoint, or keys missing, left over, of another shape or not finite: all are named in one line.
    """
    config = audio_config(f5_config)
    return config, load_params(checkpoint_path, config)


def load_params(checkpoint_path: str | Path, config: AudioConfig) -> dict:
    """`load` for a config that is ours already."""
    state = _read(Path(checkpoint_path))
    expected = nn.unbox(jax.eval_shape(lambda key: init_audio(config, key), jax.random.key(0)))
    shapes = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(expected).items()}
    problems, params, used = [], {}, set()
    for name in audio_names(config):
        stacks = [[key.format(i=i) for key in name.keys] for i in range(config.depth)] if name.stacked else [list(name.keys)]
        keys = [key for stack in stacks for key in stack]
        used.update(keys)
        missing = [key for key in keys if key not in state]
        if missing:
            problems += [f"{key} is missing" for key in missing]
            continue
        try:
            shape = shapes[name.path][1 if name.stacked else 0 :]
            parts = [turn(name.kind, [state[key] for key in stack], shape) for stack in stacks]
            value = np.stack(parts) if name.stacked else parts[0]
        except ValueError:
            value = None
        if value is None or value.shape != shapes[name.path]:
            theirs, ours = state[keys[0]].shape, shapes[name.path]
            problems.append(f"{keys[0]} has shape {theirs}, which does not fit {'/'.join(name.path)} {ours}")
        elif not np.isfinite(value).all():
            problems.append(f"{keys[0]} holds values that are not finite")
        else:
            params[name.path] = value
    problems += [f"{key} is left over" for key in sorted(set(state) - used)]
    if problems:
        shown = "; ".join(problems[:12]) + (f"; and {len(problems) - 12} more" if len(problems) > 12 else "")
        raise InputError(f"{checkpoint_path}: does not fit this F5-TTS config: {shown}")
    return traverse_util.unflatten_dict(params)


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: expected a .safetensors checkpoint")
    try:
        with safe_open(path, "np") as file:
            keys = list(file.keys())
            prefix = next(p for p in _PREFIXES if any(key.startswith(p) for key in keys) or not p)
            kept = {key: key.removeprefix(prefix) for key in keys if key.startswith(prefix)}
            return {short: file.get_tensor(key).astype(np.float32) for key, short in kept.items() if short not in BUFFERS}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({str(error).splitlines()[0]})") from None
