"""Requests to results: noise, the guided ODE, and the known frames pasted back.

    (1)  y_0 ~ N(0, 1) per request, from its own seed, frame by frame (or injected)
    (2)  dy/dt = v(y, t; conditions), guided (guidance.py); both generated streams walk the diagonal t_a = t_m = t
    (3)  result = known frames as they were given, y_1 elsewhere

What is the same at every evaluation is worked out once for a solve: the text's embedding, and adaLN's rows for all times (a GIVEN
stream is always at t = 1, an ABSENT one at 0). The solve is one compiled program.

Requests are grouped by length bucket (`SampleConfig.bucket`), by the streams and by the number of guidance passes they need, so
that none computes what only another one needs; a group is cut into powers of two, 7 = 4 + 2 + 1, so that there are no filler
rows. A handful of compiled programs serves everything: one per (model config, bucket, streams, rows, passes, method, steps).
Several devices share the rows: each solves its own, without a word to the others. Fewer requests than devices are filled up to one
each; a single one runs on one device. A request gives the same result alone as in company, to rounding.
"""
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from jamflow_jax.errors import InputError
from jamflow_jax.flow import guidance, path, solver
from jamflow_jax.flow.guidance import Scales
from jamflow_jax.flow.requests import Request, Result, Row, check, conditions
from jamflow_jax.flow.states import ABSENT, GENERATED, Conditions, by_state, model_arguments
from jamflow_jax.model.config import JamFlowConfig, TrunkConfig
from jamflow_jax.model.jamflow import JamFlow
from jamflow_jax.timeline import motion_frames

__all__ = ["Request", "Result", "SampleConfig", "Scales", "generate"]

_STREAMS = ("audio", "motion")  # their position is part of the noise key: never reorder


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """How the ODE is solved. The paper: 32 evaluations, guidance 2."""

    steps: int = 32
    method: solver.Method = "euler"
    grid: solver.Grid = "sway"
    sway: float = -1.0
    guidance: Scales | float = Scales()
    max_batch: int = 16  # requests in one program call on each device, before guidance multiplies them
    bucket: int = 120  # mel frames that lengths are rounded up to a multiple of: 1.28 s, 32 motion frames

    def __post_init__(self):
        solver.time_grid(self.grid, self.steps, self.sway)
        if self.max_batch < 1:
            raise InputError(f"max_batch is {self.max_batch}; at least one request goes into a batch")
        if self.bucket < 15 or self.bucket % 15:
            raise InputError(f"bucket is {self.bucket}; it must be a multiple of 15 mel frames, 0.16 s")


def generate(
    config: JamFlowConfig,
    params: Mapping[str, Any],
    requests: Sequence[Request],
    sample: SampleConfig = SampleConfig(),
    noise: Sequence[Mapping[str, Float[np.ndarray, "L D"]]] | None = None,
) -> list[Result]:
    """Generates every request.

    Args:
      config: the model.
      params: {"audio": ..., "motion": ...}, plain arrays; a stream no request needs may be left out.
      requests: in any mixture.
      sample: solver and guidance.
      noise: for parity tests, one mapping per request: y_0 of its "audio" [length, F] and "motion" [M, D]; a stream
        that is not named gets the noise of the request's seed.

    Returns:
      one result per request, in order.

    Raises:
      InputError: an impossible request, or one that needs a stream the parameters lack.
    """
    rows = [check(config, request, f"request {i}") for i, request in enumerate(requests)]
    scales = Scales.of(sample.guidance)
    groups: dict[tuple[int, tuple[str, ...], int], list[int]] = {}
    for i, row in enumerate(rows):
        live = _live(config, params, row, f"request {i}")
        made = len(guidance.passes(scales, row.present)[0])
        groups.setdefault((-(-row.request.length // sample.bucket) * sample.bucket, live, made), []).append(i)

    results: list[Result | None] = [None] * len(rows)
    placed: dict[Mesh, Mapping[str, Any]] = {}
    for (frames, live, _), members in groups.items():
        for size, devices in batches(len(members), jax.local_device_count(), sample.max_batch):
            batch, members = members[:size], members[size:]
            mesh = Mesh(np.array(jax.local_devices()[:devices]), ("rows",))
            if mesh not in placed:
                placed[mesh] = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
            y = _run(
                config, {name: placed[mesh][name] for name in live}, [rows[i] for i in batch],
                [noise[i] if noise else {} for i in batch], frames, sample, mesh,
            )  # fmt: skip
            for place, i in enumerate(batch):
                results[i] = _result(rows[i], {name: values[place] for name, values in y.items()})
    return results


def batches(requests: int, devices: int, most: int) -> list[tuple[int, int]]:
    """How a group is cut: (requests of a batch, devices it runs on), in order.

    Batches are as many requests a device as the largest power of two that is at hand, `most` at most, without filler rows; what is
    fewer than the devices is one batch, and a single request takes one device.
    """
    cut = []
    while requests:
        each = 1 << (min(requests // devices, most).bit_length() - 1) if requests >= devices else 1
        size = min(requests, each * devices)
        cut.append((size, 1 if size == 1 else devices))
        requests -= size
    return cut


def _live(config: JamFlowConfig, params: Mapping[str, Any], row: Row, where: str) -> tuple[str, ...]:
    """The streams that have to be computed for a request: those that are there; both, if one alone would not be the same."""
    there = tuple(name for name, state in zip(_STREAMS, (row.audio_state, row.motion_state)) if state != ABSENT)
    live = there if len(there) == 1 and (config.runs_alone(there[0]) or len(params) == 1) else _STREAMS
    for name in live:
        if name not in params:
            raise InputError(f"{where}: it needs the {name} stream, and this model has none")
    return live


def _run(config, params, rows, noise, frames, sample, mesh) -> dict[str, np.ndarray]:
    """One program call: y_1 of the streams in `params`, with filler rows at the end if there are more devices than requests."""
    filler = -len(rows) % mesh.size
    rows, noise = rows + rows[:1] * filler, noise + noise[:1] * filler
    scales = Scales.of(sample.guidance)
    dropped_BPC, coefficients_BP = guidance.table([guidance.passes(scales, row.present) for row in rows])
    y1 = _solve(
        config, params, conditions(rows, frames), _noise(config, rows, noise, frames, tuple(params)),
        solver.time_grid(sample.grid, sample.steps, sample.sway), dropped_BPC, coefficients_BP, method=sample.method, mesh=mesh,
    )  # fmt: skip
    return jax.device_get(y1)


@functools.partial(jax.jit, static_argnames=("config", "method", "mesh"))
def _solve(
    config: JamFlowConfig,
    params: Mapping[str, Any],
    conditions: Conditions,
    y0: dict[str, Float[Array, "B L D"]],
    grid: Float[Array, "n"],
    dropped_BPC: Bool[Array, "B P 4"],
    coefficients_BP: Float[Array, "B P"],
    *,
    method: solver.Method,
    mesh: Mesh,
) -> dict[str, Float[Array, "B L D"]]:
    """Integrates (2), rows over the mesh. The streams in y0 are the live ones; grid, passes and coefficients are traced, so that
    neither scales nor mixtures of tasks cost a compilation."""
    whole, rows = PartitionSpec(), PartitionSpec("rows")
    shares = jax.shard_map(
        functools.partial(_solve_rows, config, method), mesh=mesh, in_specs=(whole, rows, rows, whole, rows, rows), out_specs=rows)
    return shares(params, conditions, y0, grid, dropped_BPC, coefficients_BP)


def _solve_rows(config, method, params, conditions, y0, grid, dropped_BPC, coefficients_BP):
    """`_solve` of one device's rows."""
    live, passes = tuple(y0), coefficients_BP.shape[1]
    model = JamFlow(config)
    variables = {"params": {name: _at_work(params[name], getattr(config, name)) for name in live}}
    states = {"audio": conditions.audio_state_B, "motion": conditions.motion_state_B}
    other = {"audio": conditions.audio_context_BTF, "motion": conditions.motion_context_BMD}
    stacked = guidance.stack_conditions(conditions, dropped_BPC)
    stacked_states = {"audio": stacked.audio_state_B, "motion": stacked.motion_state_B}

    # --- once for all evaluations: adaLN of their times and, behind them, of absent (0) and given (1) streams; the text
    times = solver.evaluations(grid, method)
    count = times.shape[0]
    rows = model.apply(variables, jnp.concatenate([times, jnp.array([0.0, 1.0])]), live, method="modulations")
    no_time = jnp.zeros(stacked.length_B.shape)

    def arguments(y):
        x_audio, x_motion = (guidance.stack(y.get(name, other[name]), passes) for name in _STREAMS)
        return model_arguments(stacked, x_audio, x_motion, no_time, no_time)

    if "audio" in live:
        audio = arguments(y0)["audio"]
        text_BTC = model.apply(
            variables, audio.text_BN, audio.x_BTF.shape[1], stacked.length_B, audio.drop_text_B, method="encode_text")

    def velocity(evaluation, y):
        fed = arguments(y)
        for name in _STREAMS:
            if name not in live:
                fed[name] = None
                continue
            moment = rows[name].rows(by_state(stacked_states[name], evaluation, count + 1, count))
            fed[name] = fed[name].replace(time_B=moment)
        if "audio" in live:
            fed["audio"] = fed["audio"].replace(text_BN=text_BTC)
        v = dict(zip(_STREAMS, model.apply(variables, **fed)))
        return {
            name: jnp.where((states[name] == GENERATED)[:, None, None], guidance.combine(v[name], coefficients_BP), 0)
            for name in live
        }

    return solver.solve(velocity, y0, grid, method, jnp.arange(count))


def _at_work(params: Mapping[str, Any], trunk: TrunkConfig) -> dict[str, Any]:
    """Parameters whose layers' matrices have been cast to the dtype they are used in: once, not at every evaluation."""
    layers = params["stack"]["layers"]
    cast = {
        part: {name: value.astype(trunk.dtype) if name in ("kernel", "bias") else value for name, value in values.items()}
        for part, values in layers.items()
    }
    return {**params, "stack": {**params["stack"], "layers": cast}}


def _noise(config, rows, injected, frames, live) -> dict[str, Float[Array, "B L D"]]:
    """y_0 (1) of the live streams, padded to the bucket."""
    shapes = {"audio": (frames, config.audio.mel_dim), "motion": (motion_frames(frames), config.motion.mouth_dim)}
    seeds = np.array([row.request.seed % 2**32 for row in rows], np.uint32)
    y0 = {name: _draw(seeds, _STREAMS.index(name), *shapes[name]) for name in live}
    for name in live:
        if any(name in given for given in injected):
            values = np.array(y0[name])
            for i, given in enumerate(injected):
                if name in given:
                    values[i, : len(given[name])] = given[name]
            y0[name] = values
    return y0


@functools.partial(jax.jit, static_argnums=(2, 3))
def _draw(seeds_B, stream, frames, width):
    def key(seed):
        return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), stream)

    return path.noise(jax.vmap(key)(seeds_B), frames, width)


def _result(row: Row, y: Mapping[str, np.ndarray]) -> Result:
    """Known frames (3) pasted back, cut to the clip; only what was wanted."""

    def stream(name, wanted, known, given):
        if not wanted:
            return None
        return given if known.all() else np.where(known[:, None], given, y[name][: len(given)])

    return Result(
        mel=stream("audio", row.request.want_audio, row.mel_known_T, row.mel_TF),
        mouth=stream("motion", row.request.want_motion, row.mouth_known_M, row.mouth_MD),
    )
