"""What an F5-TTS checkpoint is: the name of a published architecture, F5-TTS's own YAML, or its `arch` as JSON.

Only the mel of this project is taken: 24 kHz, 100 bands, window 1024, hop 256, as for Vocos.
"""
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.timeline import HOP, MEL_BINS, SAMPLE_RATE

_V1 = {"dim": 1024, "depth": 22, "heads": 16, "ff_mult": 2, "text_dim": 512, "conv_layers": 4, "text_mask_padding": True}
_V0 = {"text_mask_padding": False, "pe_attn_head": 1}
_SMALL = {"dim": 768, "depth": 18, "heads": 12}
PUBLISHED = {"v1-base": _V1, "v0-base": _V1 | _V0, "v1-small": _V1 | _SMALL, "small": _V1 | _V0 | _SMALL}
_OFFICIAL = {"F5TTS_v1_Base": "v1-base", "F5TTS_Base": "v0-base", "F5TTS_v1_Small": "v1-small", "F5TTS_Small": "small"}
_MEL = {"target_sample_rate": SAMPLE_RATE, "n_mel_channels": MEL_BINS, "hop_length": HOP, "win_length": 1024, "n_fft": 1024,
        "mel_spec_type": "vocos"}  # fmt: skip
_TOKENIZERS = {"pinyin": "pinyin", "custom": "pinyin", "char": "char", "byte": "byte"}


def read(source: str) -> tuple[dict[str, Any], str]:
    """The fields of `model.arch` (for `f5tts.load`) and the tokenizer's kind.

    Args:
      source: a name of `PUBLISHED`, F5-TTS's own name of it, or a file: its YAML, or JSON of the same or of `arch` alone.

    Raises:
      InputError: no such file, or not readable; ConfigError: a name that is not known, another backbone, mel or tokenizer.
    """
    name = _OFFICIAL.get(source, source)
    if name in PUBLISHED:
        return dict(PUBLISHED[name]), "pinyin"
    path = Path(source)
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise ConfigError(f"--config {source}: neither a .yaml or .json file nor one of {', '.join((*PUBLISHED, *_OFFICIAL))}")
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{path}: cannot read the config: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: expected F5-TTS's config, or its model.arch")
    model = values.get("model", values)
    if "arch" not in model:
        return dict(model), "pinyin"
    if (backbone := model.get("backbone", "DiT")) != "DiT":
        raise ConfigError(f"{path}: model.backbone is {backbone}; F5-TTS's DiT is the one that can be loaded")
    for field, ours in _MEL.items():
        if (theirs := (model.get("mel_spec") or {}).get(field, ours)) != ours:
            raise ConfigError(f"{path}: model.mel_spec.{field} is {theirs}; the mel here has {ours}")
    kind = model.get("tokenizer", "pinyin")
    if kind not in _TOKENIZERS:
        raise ConfigError(f"{path}: model.tokenizer {kind!r} is none of {', '.join(_TOKENIZERS)}")
    return dict(model["arch"]), _TOKENIZERS[kind]
