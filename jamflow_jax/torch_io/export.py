"""A trained model as PyTorch reads it: a folder that needs no JAX and that has proved itself before it appears.

    model.safetensors     parameters under audio.KEY and motion.KEY, KEY as F5-TTS names it (names.py)
    config.json           the model, its streams, stage, motion space, tokenizer, step
    vocab.txt, statistics.json          vocoder.safetensors, when there is a vocoder
    jamflow_torch.py      the model and its sampler in PyTorch, verbatim the file of this folder
    verification.json     the largest differences between JAX and these files (verify.py)

The metadata of each .safetensors names its licence, and the tokenizer's kind, which F5-TTS's config has no word for.
Or, of the audio stream alone, what F5-TTS's own code loads: model.safetensors with its keys and prefix, model.yaml, vocab.txt.
"""
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from flax import linen as nn
from flax import traverse_util
from safetensors.numpy import save_file

from jamflow_jax.config import build, to_dict
from jamflow_jax.errors import InputError
from jamflow_jax.model.config import AudioConfig, JamFlowConfig
from jamflow_jax.model.jamflow import init_audio, init_motion
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.torch_io import verify
from jamflow_jax.torch_io.files import open_checkpoint
from jamflow_jax.torch_io.fit import fit
from jamflow_jax.torch_io.names import Name, audio_names, motion_names, turn_back, vocos_names

FORMAT = "jamflow-torch-1"
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
F5_PREFIX = "ema_model.transformer."
TABLES = {"audio": (audio_names, init_audio), "motion": (motion_names, init_motion)}
_TWIN = Path(__file__).with_name("jamflow_torch.py")


def write(
    folder: Path, config: JamFlowConfig, params: Mapping[str, Any], tokenizer: Tokenizer, space: MotionSpace,
    statistics: Statistics, facts: Mapping[str, Any], dtype: str = "float32", vocoder: Any = None,
    licence: str = "", vocoder_licence: str = "",
) -> dict[str, Any]:
    """Writes the model of all streams in `params` and checks what was written.

    Args:
      folder: an empty folder; the caller throws it away if this raises.
      config: the model.
      params: {stream: parameters}.
      tokenizer, space, statistics: what gives inputs and outputs their meaning.
      facts: more for config.json: stage, speech, step, ...
      dtype: of the parameters in the file: float32, bfloat16 or float16.
      vocoder: parameters from `torch_io.vocos.load`, written in float32; None: no vocoder.
      licence, vocoder_licence: of the weights, for the metadata of their files.

    Returns:
      what went into verification.json.

    Raises:
      InputError: the files differ from the model by more than verify.BOUND, or PyTorch is not there.
    """
    verify.need_torch()
    params = jax.device_get(dict(params))
    about = {
        "format": FORMAT, "streams": list(params), "dtype": dtype, **facts, "tokenizer": tokenizer.kind, "space": space.to_json(),
        "model": to_dict(config),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(about, indent=1) + "\n")
    (folder / "statistics.json").write_text(json.dumps(statistics.to_json()) + "\n")
    tokenizer.to_file(folder / "vocab.txt")
    shutil.copyfile(_TWIN, folder / _TWIN.name)

    def save(kind):
        save_file(streams_state_dict(config, params, DTYPES[kind]), folder / "model.safetensors", _metadata(licence, tokenizer))

    checked = verify.model(folder, config, params, save, dtype)
    reread = load(folder)[1]
    rounded = jax.tree.map(lambda a: a.astype(DTYPES[dtype]).astype(np.float32), params)
    checked["reads_back_bit_equal"] = all(map(np.array_equal, jax.tree.leaves(reread), jax.tree.leaves(rounded)))
    if not checked["reads_back_bit_equal"]:
        raise InputError(f"{folder}: the file reads back other parameters than were written")
    if vocoder is not None:
        sound = state_dict(vocos_names(), jax.device_get(vocoder), "")
        save_file(sound, folder / "vocoder.safetensors", _metadata(vocoder_licence))
        checked["vocoder_largest_difference"] = verify.vocoder(folder, vocoder)
    (folder / "verification.json").write_text(json.dumps(checked, indent=1) + "\n")
    return checked


def write_audio_only(
    folder: Path, config: AudioConfig, params: Any, tokenizer: Tokenizer, name: str, dtype: str = "float32", licence: str = ""
) -> dict[str, Any]:
    """Writes the audio stream as F5-TTS's own code loads it, and checks what was written; see `write`.

    Args:
      name: of the model, for model.yaml.
    """
    verify.need_torch()
    params = jax.device_get(params)
    tokenizer.to_file(folder / "vocab.txt")
    (folder / "model.yaml").write_text(_f5_yaml(config, tokenizer, name))

    def save(kind):
        tensors = state_dict(audio_names(config), params, F5_PREFIX, DTYPES[kind])
        theta = 1e4 ** (np.arange(0, config.head_dim, 2, dtype=np.float32) / config.head_dim)
        tensors[F5_PREFIX + "rotary_embed.inv_freq"] = (1 / theta).astype(np.float32)  # a buffer there, which it wants to find
        save_file(tensors, folder / "model.safetensors", _metadata(licence, tokenizer))

    checked = verify.audio_only(folder, config, params, save, dtype)
    (folder / "verification.json").write_text(json.dumps(checked, indent=1) + "\n")
    return checked


def load(folder: str | Path) -> tuple[JamFlowConfig, dict[str, Any]]:
    """What `write` wrote, back in JAX: the config and float32 parameters {stream: tree}.

    Raises:
      InputError: not such a folder, or a file that does not fit its config.
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        streams, values = list(about["streams"]), about["model"]
        known = about["format"] == FORMAT and set(streams) <= set(TABLES)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'}: not the config of a PyTorch export ({error})") from None
    if not known:
        raise InputError(f"{folder / 'config.json'}: format {about['format']!r}, expected {FORMAT!r}")
    config = build(JamFlowConfig, values, str(folder / "config.json"))
    params = {}
    with open_checkpoint(folder / "model.safetensors") as tensors:
        strange = {name: name for name in tensors.shapes if name.partition(".")[0] not in streams}
        for stream in streams:
            (table, init), its = TABLES[stream], getattr(config, stream)
            keys = {name.removeprefix(f"{stream}."): name for name in tensors.shapes if name.startswith(f"{stream}.")}
            what = f"the {stream} stream of config.json"
            params[stream] = fit(tensors, keys | strange, table(its), shapes_of(init, its), what)
    return config, params


def shapes_of(init, config) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Shapes of a stream's parameters by path, without making any."""
    expected = nn.unbox(jax.eval_shape(lambda key: init(config, key), jax.random.key(0)))
    return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(expected).items()}


def state_dict(names, params: Any, prefix: str, dtype: np.dtype = np.float32) -> dict[str, np.ndarray]:
    """Our parameter tree as PyTorch's tensors, by the table of names; every parameter is in it.

    Raises:
      InputError: a value that is not finite in `dtype`.
    """
    left, tensors = dict(traverse_util.flatten_dict(params)), {}
    for name in names:
        for key, tensor in _tensors(name, np.asarray(left.pop(name.path))):
            with np.errstate(over="ignore"):
                tensors[prefix + key] = cast = np.ascontiguousarray(tensor.astype(dtype, copy=False))
            if not np.isfinite(cast).all():
                if not np.isfinite(tensor).all():
                    raise InputError(f"{prefix}{key} holds values that are not finite")
                most, limit = np.abs(tensor).max(), float(ml_dtypes.finfo(dtype).max)
                raise InputError(f"{prefix}{key} holds values up to {most:.3g}, and {np.dtype(dtype).name} ends at {limit:g}")
    assert not left, f"no PyTorch name for {sorted(left)}"
    return tensors


def streams_state_dict(config: JamFlowConfig, params: Mapping[str, Any], dtype: np.dtype = np.float32) -> dict[str, np.ndarray]:
    """`state_dict` of every stream in `params`, as `jamflow_torch.JamFlow` names them."""
    tensors = {}
    for stream, tree in params.items():
        tensors |= state_dict(TABLES[stream][0](getattr(config, stream)), tree, f"{stream}.", dtype)
    return tensors


def _tensors(name: Name, value: np.ndarray):
    for i, layer in enumerate(value if name.stacked else value[None]):
        yield from ((key.format(i=i), tensor) for key, tensor in zip(name.keys, turn_back(name.kind, layer)))


def _metadata(licence: str, tokenizer: Tokenizer | None = None) -> dict[str, str]:
    known = {"licence": licence, "tokenizer": tokenizer.kind if tokenizer else ""}
    return {"format": "pt", **{name: value for name, value in known.items() if value}}


def _f5_yaml(config: AudioConfig, tokenizer: Tokenizer, name: str) -> str:
    """The fields of F5-TTS's configs/*.yaml that its inference reads; JSON values are YAML."""
    arch = {
        "dim": config.width, "depth": config.depth, "heads": config.heads, "dim_head": config.head_dim, "ff_mult": config.ff_mult,
        "text_dim": config.text_width, "text_mask_padding": config.text_mask_padding, "qk_norm": config.qk_norm,
        "conv_layers": config.text_layers, "pe_attn_head": config.rope_heads, "long_skip_connection": config.long_skip,
        "attn_backend": "torch", "attn_mask_enabled": False, "checkpoint_activations": False,
    }  # fmt: skip
    mel = {"target_sample_rate": 24_000, "n_mel_channels": config.mel_dim, "hop_length": 256, "win_length": 1024, "n_fft": 1024,
           "mel_spec_type": "vocos"}  # fmt: skip
    kind = "byte" if tokenizer.kind == "byte" else "custom"
    head = {"name": name, "tokenizer": kind, "tokenizer_path": None if kind == "byte" else "vocab.txt", "backbone": "DiT"}

    def block(fields, indent):
        return [f"{' ' * indent}{key}: {json.dumps(value)}" for key, value in fields.items()]

    return "\n".join([
        "model:", *block(head, 2), "  arch:", *block(arch, 4), "  mel_spec:", *block(mel, 4),
        "  vocoder:", *block({"is_local": False, "local_path": None}, 4), "",
    ])  # fmt: skip
