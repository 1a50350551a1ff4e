"""Does PyTorch compute from the written files what JAX computes from the parameters? Fresh random inputs, both sides, every export.

    difference = max |v_jax - v_torch| / max(1, rms v_jax)        of velocities, float32 on both sides;  at most 2e-4

Four clips of different lengths with text: both streams noisy; text dropped; motion absent; audio absent. A file in half precision
is judged in two steps: the float32 file must pass, then its own error against float32 is measured and written down,

    error = |v_half - v_32| / max(1, rms v_32),  largest and rms,   with the arithmetic in that precision and in float32.
"""
import dataclasses
import functools
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jamflow_jax.errors import InputError
from jamflow_jax.model.config import AudioConfig, JamFlowConfig
from jamflow_jax.model.jamflow import AudioInputs, JamFlow, MotionInputs
from jamflow_jax.timeline import MEL_BINS, motion_frames

BOUND = 2e-4
VOCODER_BOUND = 1e-3
FRAMES = 200  # mel frames of the longest clip: 2.1 s, several windows


def need_torch() -> None:
    """Raises InputError where PyTorch is missing."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise InputError("an export is checked with PyTorch before it is written: pip install 'jamflow-jax[torch]'") from None


def model(
    folder: Path, config: JamFlowConfig, params: Mapping[str, Any], save: Callable[[str], None], dtype: str
) -> dict[str, Any]:
    """Calls `save(dtype)` for float32 and then, if it is another, for `dtype`; loads `folder` back in PyTorch each time.

    Returns:
      seed, versions and differences, plain JSON values.

    Raises:
      InputError: the float32 file differs by more than BOUND.
    """
    import torch

    from jamflow_jax.torch_io import jamflow_torch

    seed = secrets.randbits(32)
    inputs = random_inputs(config, tuple(params), np.random.default_rng(seed))
    expected = jax_velocities(config, params, inputs)

    def velocities(kind=None):
        twin = jamflow_torch.JamFlow.from_pretrained(folder, dtype=kind)
        return torch_velocities(twin, inputs)

    return _check(folder, expected, velocities, save, dtype, seed, torch)


def audio_only(folder: Path, config: AudioConfig, params: Any, save: Callable[[str], None], dtype: str) -> dict[str, Any]:
    """`model` for the files of an audio-only export."""
    import torch
    from safetensors.torch import load_file

    from jamflow_jax.config import to_dict
    from jamflow_jax.model.config import MotionConfig
    from jamflow_jax.torch_io import jamflow_torch

    trunk = {f.name: getattr(config, f.name) for f in dataclasses.fields(MotionConfig) if hasattr(config, f.name)}
    whole = JamFlowConfig(audio=config, motion=MotionConfig(**trunk))
    seed = secrets.randbits(32)
    inputs = random_inputs(whole, ("audio",), np.random.default_rng(seed))
    expected = jax_velocities(whole, {"audio": params}, inputs)

    def velocities(kind=None):
        with torch.device("meta"):
            twin = jamflow_torch.JamFlow({"model": json.loads(json.dumps(to_dict(whole))), "streams": ["audio"]})
        state = load_file(folder / "model.safetensors")
        state = {key.replace("ema_model.transformer.", "audio."): value for key, value in state.items() if "inv_freq" not in key}
        twin.load_state_dict(state, assign=True)
        return torch_velocities(twin.to(kind).eval(), inputs)

    return _check(folder, expected, velocities, save, dtype, seed, torch)


def vocoder(folder: Path, params: Any) -> float:
    """Largest difference of the sound of a random mel, JAX against vocoder.safetensors, over the sound's standard deviation.

    Raises:
      InputError: it is above VOCODER_BOUND.
    """
    import torch

    from jamflow_jax.audio.vocoder import vocos
    from jamflow_jax.torch_io.jamflow_torch import Vocos

    mel_BTF = np.random.default_rng(secrets.randbits(32)).normal(-1, 2, (1, FRAMES, MEL_BINS)).astype(np.float32)
    ours = np.asarray(vocos(params, mel_BTF))
    theirs = Vocos.from_file(folder / "vocoder.safetensors")(torch.as_tensor(mel_BTF)).numpy()
    difference = float(np.abs(ours - theirs).max() / ours.std())
    if not difference <= VOCODER_BOUND:
        raise InputError(f"PyTorch's vocoder differs by {difference:.2e} of the sound's deviation, at most {VOCODER_BOUND:.0e} is "
                         "allowed; nothing is written")  # fmt: skip
    return difference


def random_inputs(config: JamFlowConfig, streams: tuple[str, ...], rng: np.random.Generator) -> dict[str, Any]:
    """Arguments of JamFlow for four clips, NumPy; fields of AudioInputs and MotionInputs under their names."""
    length_B = np.array([FRAMES, FRAMES - 1, FRAMES // 2 + 7, 3 * FRAMES // 4], np.int32)
    motion = motion_frames(FRAMES)

    def normal(*shape):
        return rng.standard_normal((4, *shape)).astype(np.float32)

    def context(values):  # known at the front
        return np.where(np.arange(values.shape[1])[:, None] < values.shape[1] // 3, values, 0).astype(np.float32)

    a, m = config.audio, config.motion
    text_BN = rng.integers(0, a.text_vocab, (4, 60)).astype(np.int32)
    text_BN[np.arange(60) >= np.array([60, 25, 40, 1])[:, None]] = -1
    arguments = {
        "audio": {"x_BTF": normal(FRAMES, a.mel_dim), "context_BTF": context(normal(FRAMES, a.mel_dim)), "text_BN": text_BN,
                  "time_B": rng.random(4, np.float32), "drop_text_B": np.array([False, True, False, False])},
        "motion": {"x_BMD": normal(motion, m.mouth_dim), "context_BMD": context(normal(motion, m.mouth_dim)),
                   "rest_BMR": normal(motion, m.rest_dim), "time_B": rng.random(4, np.float32),
                   "speech_BMS": normal(motion, m.speech_dim) if m.speech_dim else None},
    }  # fmt: skip
    arguments = {name: fields if name in streams else None for name, fields in arguments.items()}
    return arguments | {
        "length_B": length_B,
        "joint_audio_B": np.array([True, True, False, True]),
        "joint_motion_B": np.array([True, True, True, False]),
    }


def jax_velocities(config: JamFlowConfig, params: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Velocity of each stream, computed in full float32 whatever the config trains in."""
    exact = {name: dataclasses.replace(getattr(config, name), dtype="float32") for name in ("audio", "motion")}
    exact = dataclasses.replace(config, **exact)
    audio = None if inputs["audio"] is None else AudioInputs(**inputs["audio"])
    motion = None if inputs["motion"] is None else MotionInputs(**inputs["motion"])
    rest = {name: value for name, value in inputs.items() if name not in ("audio", "motion")}
    with jax.default_matmul_precision("highest"):
        velocities = _apply(exact, params, audio, motion, rest)
    return {name: np.asarray(v) for name, v in zip(("audio", "motion"), velocities) if v is not None}


@functools.partial(jax.jit, static_argnums=0)
def _apply(config, params, audio, motion, rest):
    return JamFlow(config).apply({"params": params}, audio, motion, **rest)


def torch_velocities(twin: Any, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The same of a `jamflow_torch.JamFlow`."""
    import torch

    from jamflow_jax.torch_io import jamflow_torch

    def tensors(fields):
        return {name: value if value is None else torch.as_tensor(value) for name, value in fields.items()}

    audio = None if inputs["audio"] is None else jamflow_torch.AudioInputs(**tensors(inputs["audio"]))
    motion = None if inputs["motion"] is None else jamflow_torch.MotionInputs(**tensors(inputs["motion"]))
    rest = tensors({name: value for name, value in inputs.items() if name not in ("audio", "motion")})
    with torch.inference_mode():
        velocities = twin(audio, motion, **rest)
    return {name: v.numpy() for name, v in zip(("audio", "motion"), velocities) if v is not None}


def _check(folder, expected, velocities, save, dtype, seed, torch) -> dict[str, Any]:
    save("float32")
    exact = velocities()
    found = {
        "versions": {"jax": jax.__version__, "torch": torch.__version__}, "seed": seed, "bound": BOUND,
        "velocity_rms": {name: _rms(v) for name, v in expected.items()},
        "largest_difference": {name: _error(exact[name], v)["largest"] for name, v in expected.items()},
    }  # fmt: skip
    for name, difference in found["largest_difference"].items():
        if not difference <= BOUND:
            raise InputError(
                f"PyTorch computes other {name} velocities than JAX: they differ by {difference:.2e}, at most {BOUND:.0e} is "
                f"allowed (seed {seed}); nothing is written"
            )
    if dtype != "float32":
        save(dtype)
        for label, kind in ((f"computed_in_{dtype}", getattr(torch, dtype)), ("computed_in_float32", torch.float32)):
            rough = velocities(kind)
            if not all(np.isfinite(v).all() for v in rough.values()):
                raise InputError(f"in {dtype} this model overflows (velocities are not finite); export bfloat16 or float32")
            found[f"{dtype}_error"] = found.get(f"{dtype}_error", {}) | {
                label: {name: _error(rough[name], exact[name]) for name in exact}}
    return found


def _rms(v: np.ndarray) -> float:
    return float(np.sqrt(np.square(v, dtype=np.float64).mean()))


def _error(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    scale = max(1.0, _rms(theirs))
    return {"largest": float(np.abs(ours - theirs).max()) / scale, "rms": _rms(ours - theirs) / scale}
