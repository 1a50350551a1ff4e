"""Where parameters start: a stage-1 run, an F5-TTS checkpoint, a whole run, or nothing.

Stage 1 concatenates speech features to Motion-DiT's input, [noisy; context; rest; speech]; in stage 2 motion hears through joint
attention, so the rows of the input matrix that read the features are dropped.

Shapes do not tell what a number means: the motion stream must come from the same motion space, the audio stream from the same
vocabulary. (Of an F5-TTS checkpoint only the vocabulary's size is known.)
"""
import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jamflow_jax.errors import ConfigError
from jamflow_jax.model.config import AudioConfig, JamFlowConfig
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.train.bundle import Model, load_model
from jamflow_jax.train.config import RunConfig


def starting_params(config: RunConfig, space: MotionSpace, tokenizer: Tokenizer) -> dict[str, Any]:
    """{stream: host arrays} for the streams `config.init` names a start for; `run` first, then `audio` and `motion` over it.

    Args:
      config: the new run.
      space, tokenizer: of its data.

    Raises:
      ConfigError: a source that does not fit the run or its data; InputError: one that cannot be read.
    """
    init = config.init
    given: dict[str, Any] = {}
    if init.run:
        model = load_model(init.run)
        if model.config.stage != config.stage:
            raise ConfigError(f"config.init.run: {init.run} is a run of stage {model.config.stage}, this one is of {config.stage}")
        _same_space("run", init.run, model.space, space)
        if "audio" in model.params:
            _same_vocabulary("run", init.run, model.tokenizer, tokenizer)
        given |= jax.device_get(model.params)
    if init.audio:
        if config.stage == 1:
            raise ConfigError("config.init.audio: stage 1 has no audio stream")
        given["audio"] = _audio(init.audio, config.model.audio, tokenizer)
    if init.motion:
        model = load_model(init.motion)
        _same_space("motion", init.motion, model.space, space)
        given["motion"] = _motion(model, config)
    return given


def fit_to_data(
    model: JamFlowConfig, *, mouth_dim: int, rest_dim: int, text_vocab: int, speech_dim: int
) -> tuple[JamFlowConfig, list[str]]:
    """The model with the dimensions that the data decides, and a line for each that this changed.

    A field left at 0 or at its default is filled in; one that was set must agree.

    Raises:
      ConfigError: a field was set to something else than the data has.
    """
    default = JamFlowConfig()
    wanted = {"audio": {"text_vocab": text_vocab},
              "motion": {"mouth_dim": mouth_dim, "rest_dim": rest_dim, "speech_dim": speech_dim}}  # fmt: skip
    said, filled = [], {}
    for stream, fields in wanted.items():
        now = getattr(model, stream)
        for name, value in fields.items():
            old = getattr(now, name)
            if old not in (0, value, getattr(getattr(default, stream), name)):
                raise ConfigError(f"config.model.{stream}.{name} is {old}, the data set has {value}; leave it out")
            if old != value:
                said.append(f"model.{stream}.{name} = {value}, from the data set")
        filled[stream] = dataclasses.replace(now, **fields)
    return dataclasses.replace(model, **filled), said


def _same_space(field: str, source: str, there: MotionSpace, here: MotionSpace) -> None:
    """Refuses another meaning of what the motion stream reads and makes: the names of mouth and rest, in order."""
    for role in ("mouth", "rest"):
        old, new = ([space.name, *(space.dims[i] for i in getattr(space, role))] for space in (there, here))
        if old != new:
            raise ConfigError(
                f"config.init.{field}: {source} was trained on another motion space than that of the data set: {role} of "
                f"{_named(old)} there, of {_named(new)} here"
            )


def _named(words: list[str]) -> str:
    name, *dims = words
    shown = dims if len(dims) <= 12 else [*dims[:6], "..."]
    return f"{name} ({len(dims)}: {', '.join(shown)})" if dims else f"{name} (none)"


def _same_vocabulary(field: str, source: str, there: Tokenizer, here: Tokenizer) -> None:
    if (there.kind, there.vocab) == (here.kind, here.vocab):
        return
    pairs = enumerate(zip(there.vocab, here.vocab))
    first = next((f"id {i} is {old!r} there, {new!r} here" for i, (old, new) in pairs if old != new), "one is a part of the other")
    wanted = "byte" if there.kind == "byte" else f"{there.kind}:{source}/vocab.txt"
    raise ConfigError(
        f"config.init.{field}: {source} was trained with {there.vocab_size} {there.kind} tokens, the data set has "
        f"{here.vocab_size} {here.kind} tokens, and they differ ({first}): prepare the data set with --tokenizer {wanted}"
    )


def _audio(source: str, config: AudioConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    if Path(source).is_dir():
        model = load_model(source)
        if "audio" not in model.params:
            raise ConfigError(f"config.init.audio: {source} is a stage-1 run, it has no audio stream")
        _same_vocabulary("audio", source, model.tokenizer, tokenizer)
        return jax.device_get(model.params["audio"])
    from jamflow_jax.torch_io import f5tts

    return f5tts.load_params(source, config)


def _motion(model: Model, config: RunConfig) -> dict[str, Any]:
    params = jax.device_get(model.params["motion"])
    speech = model.config.model.motion.speech_dim
    if config.stage == 2 and model.config.stage == 1 and speech:
        proj = params["input"]["proj"]
        rows = np.asarray(proj["kernel"])[:-speech]
        params = {**params, "input": {**params["input"], "proj": {**proj, "kernel": rows}}}
    return params
