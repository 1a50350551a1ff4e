"""Where parameters start: a stage-1 run, an F5-TTS checkpoint, a whole run, or nothing; and the table that says so.

Stage 1 concatenates speech features to Motion-DiT's input, [noisy; context; rest; speech]; in stage 2 motion hears through joint
attention, so the rows of the input matrix that read the features are dropped.

Shapes do not tell what a number means: the motion stream must come from the same motion space with the same dimensions alive, the
audio stream from the same vocabulary, and both from a stream that computes the same (v0 and v1 have the same shapes). What one may
change on purpose is noted. (Of an F5-TTS checkpoint that is not converted only the vocabulary's size is known.)
"""
import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jamflow_jax import storage
from jamflow_jax.errors import ConfigError
from jamflow_jax.model.config import JamFlowConfig
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.torch_io import f5tts
from jamflow_jax.train import origins
from jamflow_jax.train.bundle import VOCODER, Model, load_model
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.origins import Origin
from jamflow_jax.train.state import init_params

# Fields that change what a stream computes though no shape tells: they must agree. The second kind one may change, and is told.
_COMPUTATION = {"audio": ("rope_heads", "qk_norm", "long_skip", "text_mask_padding", "grn_over_padding"),
                "motion": ("rope_heads", "qk_norm", "long_skip")}  # fmt: skip
_CHOICES = {"audio": (), "motion": ("rope_alignment", "window_seconds")}


@dataclasses.dataclass
class Start:
    """Host arrays {stream: tree} to start from, what each is, and what of the sources is not used: (what, parameters, of)."""

    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    unused: list[tuple[str, int, str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)  # what differs from the sources and may
    origins: tuple[Origin, ...] = ()
    vocoder: Path | None = None  # of a source that has one

    def give(self, stream: str, tree: Any, source: str) -> None:
        """Takes a stream; what was given before is left unused."""
        if stream in self.params:
            self.unused.append((f"{stream}, replaced", _count(self.params[stream]), self.sources[stream]))
        self.params[stream], self.sources[stream] = tree, source

    def leave(self, model: Model, stream: str, source: str) -> None:
        """Says that the other streams of a run stay behind."""
        self.unused += [(other, _count(tree), source) for other, tree in model.params.items() if other != stream]

    def table(self, config: RunConfig) -> list[str]:
        """One line per stream, then one per unused part, then what differs from the sources, then the licences."""
        shapes = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
        rows = [(stream, _count(tree), self.sources.get(stream, f"new, random from seed {config.seed}"))
                for stream, tree in shapes.items()]  # fmt: skip
        rows += [(f"unused: {what}", count, of) for what, count, of in self.unused]
        width = max(len(what) for what, _, _ in rows)
        lines = [f"{what:<{width}}  {count:>13,}  {source}" for what, count, source in rows]
        return [*lines, *dict.fromkeys(self.notes), *map(str, self.origins)]


def start(config: RunConfig, space: MotionSpace, tokenizer: Tokenizer, statistics: Statistics) -> Start:
    """What `config.init` names; `run` first, then `audio` and `motion` over it. Streams it does not name are left to be fresh.

    Args:
      config: the new run.
      space, tokenizer, statistics: of its data.

    Raises:
      ConfigError: a source that does not fit the run or its data; InputError: one that cannot be read.
    """
    init, found = config.init, Start()
    if init.run:
        model = load_model(init.run)
        if model.config.stage != config.stage:
            raise ConfigError(f"config.init.run: {init.run} is a run of stage {model.config.stage}, this one is of {config.stage}")
        if missing := [stream for stream in ("audio", "motion")[2 - config.stage :] if stream not in model.params]:
            raise ConfigError(f"config.init.run: {init.run} has no {missing[0]} stream; what it has is named by config.init.audio")
        _same_space("run", init.run, model.space, space)
        _same_motion(found, "run", init.run, model, space, statistics)
        _same_computation(found, "run", init.run, model, config, tuple(model.params))
        if "audio" in model.params:
            _same_vocabulary("run", init.run, model.tokenizer, tokenizer)
        for stream, tree in model.params.items():
            found.give(stream, jax.device_get(tree), _named_run(init.run, model))
        found.origins = origins.merge(found.origins, model.origins)
    if init.audio:
        if config.stage == 1:
            raise ConfigError("config.init.audio: stage 1 has no audio stream")
        _audio(found, init.audio, config, tokenizer)
    if init.motion:
        model = load_model(init.motion)
        if "motion" not in model.params:
            raise ConfigError(f"config.init.motion: {init.motion} has no motion stream")
        _same_space("motion", init.motion, model.space, space)
        _same_motion(found, "motion", init.motion, model, space, statistics)
        _same_computation(found, "motion", init.motion, model, config, ("motion",))
        _motion(found, init.motion, model, config)
        found.origins = origins.merge(found.origins, model.origins)
    vocoders = [storage.at(source) / VOCODER for source in (init.run, init.audio, init.motion) if source]
    found.vocoder = next((path for path in vocoders if storage.exists(path)), None)
    return found


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


def _same_motion(found: Start, field: str, source: str, model: Model, space: MotionSpace, statistics: Statistics) -> None:
    """Refuses a dimension that moves in the data of one and not of the other; notes how far the normalisations are apart."""
    there = model.statistics.take([*model.space.mouth, *model.space.rest])
    here = statistics.take([*space.mouth, *space.rest])
    names = np.array([space.dims[i] for i in (*space.mouth, *space.rest)])
    if (there.live != here.live).any():
        still = {"there": names[here.live & ~there.live], "here": names[there.live & ~here.live]}
        said = "; ".join(f"still {where}: {', '.join(dims)}" for where, dims in still.items() if len(dims))
        raise ConfigError(f"config.init.{field}: {source} has seen motion in other dimensions than the data set has it: {said}")
    if not there.live.any() or (np.array_equal(there.mean, here.mean) and np.array_equal(there.std, here.std)):
        return
    names, there, here = names[there.live], there.take(there.live.nonzero()[0]), here.take(there.live.nonzero()[0])
    shift, ratio = np.abs(here.mean - there.mean) / there.std, np.maximum(here.std / there.std, there.std / here.std)
    found.notes.append(
        f"motion is not spread as in {source}: means differ by up to {shift.max():.2g} std ({names[shift.argmax()]}), std by a "
        f"factor of up to {ratio.max():.3g} ({names[ratio.argmax()]})"
    )


def _same_computation(
    found: Start, field: str, source: str, model: Model, config: RunConfig, streams: tuple[str, ...]
) -> None:
    """Refuses a stream that would compute something else; notes what may differ."""
    there, here, flags = model.config.model, config.model, []
    for stream in streams:
        old, new = getattr(there, stream), getattr(here, stream)
        differ = [name for name in _COMPUTATION[stream] if getattr(old, name) != getattr(new, name)]
        flags += [f"--config.model.{stream}.{name}={str(getattr(old, name)).lower()}" for name in differ]
        pairs = {f"{stream}.{name}": (getattr(old, name), getattr(new, name)) for name in _CHOICES[stream]}
        found.notes += _changed(source, pairs)
    if config.stage == 2 and len(model.params) == 2:
        windows = {f"windows.{name}": (value, getattr(here.windows, name)) for name, value in vars(there.windows).items()}
        found.notes += _changed(source, {"joint_layers": (there.joint, here.joint), **windows})
    if flags:
        raise ConfigError(f"config.init.{field}: {source} computes otherwise than config.model says: set {' '.join(flags)}")


def _changed(source: str, pairs: dict[str, tuple[Any, Any]]) -> list[str]:
    return [f"model.{name} was {old} in {source}, is {new} here" for name, (old, new) in pairs.items() if old != new]


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


def _audio(found: Start, source: str, config: RunConfig, tokenizer: Tokenizer) -> None:
    if storage.at(source).is_dir():
        model = load_model(source)
        if "audio" not in model.params:
            raise ConfigError(f"config.init.audio: {source} is a stage-1 run, it has no audio stream")
        _same_vocabulary("audio", source, model.tokenizer, tokenizer)
        _same_computation(found, "audio", source, model, config, ("audio",))
        found.give("audio", jax.device_get(model.params["audio"]), _named_run(source, model))
        found.leave(model, "audio", source)
        found.origins = origins.merge(found.origins, model.origins)
        return
    params, contents = f5tts.load_params(source, config.model.audio), f5tts.contents(source)
    found.give("audio", params, f"{source}{' (average)' if contents.averaged else ''}")
    if contents.others:
        found.unused.append(("audio, the weights that are not averaged", sum(map(math.prod, contents.others.values())), source))
    found.origins = origins.merge(found.origins, [Origin("audio", f"F5-TTS, {Path(source).name}", contents.licence)])


def _motion(found: Start, source: str, model: Model, config: RunConfig) -> None:
    params, label = jax.device_get(model.params["motion"]), _named_run(source, model)
    speech = model.config.model.motion.speech_dim
    if config.stage == 2 and model.config.stage == 1 and speech:
        proj = params["input"]["proj"]
        rows, left = np.asarray(proj["kernel"])[:-speech], np.asarray(proj["kernel"])[-speech:]
        params = {**params, "input": {**params["input"], "proj": {**proj, "kernel": rows}}}
        found.unused.append((f"motion.input.proj, {speech} rows that read speech", left.size, label))
    found.give("motion", params, label)
    found.leave(model, "motion", label)


def _named_run(source: str, model: Model) -> str:
    return f"{source}, step {model.step:,}"


def _count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
