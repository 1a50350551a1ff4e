"""All that training carries from one step to the next, made where it belongs on the mesh.

    ema <- ema + (1 - d) (params - ema),   d = min(ema_decay, (1 + n) / (10 + n)) after n updates

The state is traced without allocating (`eval_shape`), laid out by its logical axes, then made by one jitted program straight into
place: no device ever holds a whole copy.
"""
from collections.abc import Iterable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from jamflow_jax.errors import ConfigError
from jamflow_jax.model.jamflow import init, init_motion
from jamflow_jax.parallel.rules import shardings, uncut
from jamflow_jax.timeline import motion_frames
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.optimizer import multipliers, optimizer


@flax.struct.dataclass
class TrainState:
    """Parameters are {stream: tree}; `ema` and the optimiser know only the streams that are trained."""

    step: Int[Array, ""]  # batches seen: decides the next batch and all randomness
    skipped: Int[Array, ""]  # of them, how many gave no update because the gradient was not finite
    skipped_in_a_row: Int[Array, ""]
    params: dict[str, Any]
    ema: dict[str, Any]
    opt_state: optax.OptState

    @property
    def averaged(self) -> dict[str, Any]:
        """The parameters to sample with: averages of the trained streams, the frozen ones as they are."""
        return {**self.params, **self.ema}


def streams(config: RunConfig) -> tuple[str, ...]:
    """The streams there are."""
    return ("motion",) if config.stage == 1 else ("audio", "motion")


def stream_frames(config: RunConfig, frames: int) -> dict[str, int]:
    """Stream -> its frames in a clip of so many mel frames."""
    return {stream: frames if stream == "audio" else motion_frames(frames) for stream in streams(config)}


def trained_streams(config: RunConfig) -> tuple[str, ...]:
    """The streams that learn: those with a learning rate."""
    return tuple(stream for stream in streams(config) if multipliers(config.optim)[stream] > 0)


def init_params(config: RunConfig, key: Array) -> dict[str, Any]:
    """Fresh parameters of the run's streams, boxed with their logical axes."""
    return {"motion": init_motion(config.model.motion, key)} if config.stage == 1 else init(config.model, key)


def create(config: RunConfig, params: dict[str, Any]) -> TrainState:
    """The state before the first step. Works on boxed and plain trees, and under `eval_shape`."""
    trained = {stream: params[stream] for stream in trained_streams(config)}
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero, skipped=zero, skipped_in_a_row=zero, params=params,
        ema=jax.tree.map(jnp.copy, trained),  # a buffer of its own: the state is donated
        opt_state=optimizer(config.optim, config.steps).init(trained),
    )


def layout(config: RunConfig, mesh: Mesh) -> tuple[TrainState, TrainState]:
    """(shapes, shardings) of the state, without allocating anything."""
    boxed = jax.eval_shape(lambda: create(config, init_params(config, jax.random.key(0))))  # no key is made: the mesh may be a plan
    return nn.unbox(boxed), shardings(boxed, mesh)


def not_cut(config: RunConfig, mesh: Mesh) -> list[str]:
    """What of the parameters the mesh should cut and does not, in lines (`rules.uncut`); usually none."""
    return uncut(jax.eval_shape(lambda: init_params(config, jax.random.key(0))), mesh)


def clips_not_cut(config: RunConfig, mesh: Mesh, buckets: Iterable[int]) -> list[str]:
    """Which clips (of so many mel frames) the mesh's sequence axis should cut and does not, in lines; usually none."""
    parts, lines = mesh.shape["sequence"], []
    for frames in buckets:
        names = {"audio": "mel", "motion": "motion"}
        if wrong := [f"{n:,} {names[stream]}" for stream, n in stream_frames(config, frames).items() if n % parts]:
            lines.append(f"clips of {frames:,} mel frames are not cut over sequence: config.mesh.sequence is {parts}, which does "
                         f"not divide {' and '.join(wrong)} frames; devices along it do the same work")  # fmt: skip
    return lines


def initialise(config: RunConfig, mesh: Mesh, given: dict[str, Any] | None = None) -> TrainState:
    """A new state on the mesh: fresh from the run's seed, or from parameters loaded elsewhere.

    Args:
      config: the run.
      mesh: where.
      given: {stream: parameters} as host arrays, replacing the fresh ones; streams left out stay fresh.

    Raises:
      ConfigError: a given array of another name or shape; the message names the first.
    """
    shapes, places = layout(config, mesh)
    key = jax.random.key(config.seed)
    if not given:
        return jax.jit(lambda key: nn.unbox(create(config, init_params(config, key))), out_shardings=places)(key)
    params = jax.jit(lambda key: nn.unbox(init_params(config, key)), out_shardings=places.params)(key)
    for stream, tree in given.items():
        _check(shapes.params[stream], tree, stream)
        tree = jax.tree.map(lambda x, s: np.asarray(x, s.dtype), tree, shapes.params[stream])  # stays on the host
        params[stream] = jax.device_put(tree, places.params[stream])
    return jax.jit(lambda params: create(config, params), out_shardings=places, donate_argnums=0)(params)


def ema_decay(limit: float, updates: Int[Array, ""]) -> Float[Array, ""]:
    """min(limit, (1 + n) / (10 + n))."""
    n = updates.astype(jnp.float32)
    return jnp.minimum(limit, (1 + n) / (10 + n))


def parameter_table(params: dict[str, Any]) -> list[str]:
    """One line per module and one for all: how many parameters."""
    counts = {
        f"{stream}.{module}": sum(leaf.size for leaf in jax.tree.leaves(tree))
        for stream, modules in params.items()
        for module, tree in modules.items()
    }
    counts["total"] = sum(counts.values())
    width = max(map(len, counts))
    return [f"{name:<{width}}  {count:>15,}" for name, count in counts.items()]


def _check(expected: Any, given: Any, stream: str) -> None:
    flat = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(expected)}
    other = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(given)}
    for name in sorted(set(flat) | set(other)):
        if name not in other or name not in flat:
            where = "what it starts from" if name not in other else "config.model"
            raise ConfigError(f"config.init: {stream}{name} is not in {where}; the two models differ")
        if flat[name].shape != other[name].shape:
            shapes = f"{other[name].shape}, config.model asks for {flat[name].shape}"
            raise ConfigError(f"config.init: {stream}{name} has shape {shapes}")
