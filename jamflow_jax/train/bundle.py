"""A trained model as sample, evaluate and convert load it: from the directory of a run and nothing else.

    vocoder.safetensors    beside what a run writes: a Vocos in its own layout, if the model has one
"""
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn

from jamflow_jax import storage
from jamflow_jax.config import to_dict
from jamflow_jax.errors import InputError
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.train import checkpoint, origins, workdir
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.origins import Origin
from jamflow_jax.train.state import init_params, trained_streams

VOCODER = "vocoder.safetensors"


@dataclasses.dataclass(frozen=True)
class Model:
    """Parameters {stream: tree} and what gives their inputs and outputs a meaning. A converted model may have one stream only."""

    config: RunConfig
    params: dict[str, Any]
    space: MotionSpace
    statistics: Statistics
    tokenizer: Tokenizer
    step: int
    origins: tuple[Origin, ...] = ()  # of weights that come from elsewhere, with their licences


def load_model(
    directory: str | Path, ema: bool = True, step: int | None = None, say: Callable[[str], None] = print
) -> Model:
    """The newest checkpoint of a run that is whole, or that of `step`, on the first device.

    Args:
      directory: the --workdir of `jamflow train`.
      ema: the averaged parameters, else the raw ones. Frozen streams have only the latter.
      step: a particular checkpoint.
      say: is told when a damaged checkpoint was passed over.

    Raises:
      InputError: no run there, no checkpoint that is whole, one of another model than config.json says, or not readable now.
    """
    config, space, statistics, tokenizer = workdir.read(directory)
    checkpoints = storage.absolute(directory) / "checkpoints"
    found = checkpoint.steps(checkpoints)
    if step is not None and step not in found:
        raise InputError(f"{directory}: no checkpoint of step {step}; there are {', '.join(map(str, found)) or 'none'}")
    reasons = []
    for number in [step] if step is not None else found[::-1]:
        try:
            params = _load(checkpoints / str(number), config, ema)
            if reasons:
                say(f"note: {directory}: step {number} is loaded, for the newest is damaged ({'; '.join(reasons)})")
            return Model(config, params, space, statistics, tokenizer, number, origins.read(directory))
        except checkpoint.Damaged as error:
            reasons.append(f"step {number}: {error}")
    raise InputError(f"{directory}: no readable checkpoint ({'; '.join(reasons) or 'none saved yet'})")


def save_model(directory: str | Path, model: Model) -> None:
    """Writes a model as the directory of a run, to load and to start from; `load_model` gives the same parameters, bit for bit."""
    workdir.write(directory, model.config, model.space, model.statistics, model.tokenizer)
    origins.write(directory, model.origins)
    record = {"config": to_dict(model.config), "fingerprint": "", "pending": []}
    checkpoint.save_parameters(storage.at(directory) / "checkpoints", model.step, model.params, record)


def _load(path: Path, config: RunConfig, ema: bool) -> dict[str, Any]:
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shapes = nn.unbox(jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0)))
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), shapes)
    averaged = {stream: abstract[stream] for stream in trained_streams(config)} if ema else {}
    record = checkpoint.read_record(path)
    if "streams" in record:  # saved by `save_model`: these, and no averages
        abstract, averaged = {stream: abstract[stream] for stream in record["streams"]}, {}
    if averaged.keys() == abstract.keys():
        return checkpoint.load(path, {"averages": averaged}, record)["averages"]
    parts = checkpoint.load(path, {"params": abstract, **({"averages": averaged} if averaged else {})}, record)
    return {**parts["params"], **parts.get("averages", {})}
