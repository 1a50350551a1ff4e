"""Requests to results: noise, the guided ODE, and the known frames pasted back.

    (1)  y_0 ~ N(0, 1) per request, from its own seed, frame by frame (or injected)
    (2)  dy/dt = v(y, t; conditions), guided (guidance.py); both generated streams walk the diagonal t_a = t_m = t
    (3)  result = known frames as they were given, y_1 elsewhere

Requests are grouped by length bucket (a multiple of 120 mel frames) and by the streams they need, and padded to a power of two
rows, so that a handful of compiled programs serves everything: one per (model config, bucket, rows, passes, method, steps).
A request gives the same result alone as in company, to rounding.
"""
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jamflow_jax.errors import InputError
from jamflow_jax.flow import guidance, path, solver
from jamflow_jax.flow.guidance import Scales
from jamflow_jax.flow.requests import Request, Result, Row, check, conditions
from jamflow_jax.flow.states import ABSENT, GENERATED, Conditions, model_arguments
from jamflow_jax.model.config import JamFlowConfig
from jamflow_jax.model.jamflow import JamFlow
from jamflow_jax.timeline import motion_frames

__all__ = ["Request", "Result", "SampleConfig", "Scales", "generate"]

BUCKET = 120  # mel frames: 1.28 s, 32 motion frames
_STREAMS = ("audio", "motion")  # their position is part of the noise key: never reorder


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """How the ODE is solved. The paper: 32 evaluations, guidance 2."""

    steps: int = 32
    method: solver.Method = "euler"
    grid: solver.Grid = "sway"
    sway: float = -1.0
    guidance: Scales | float = Scales()
    max_batch: int = 16  # requests in one program call, before guidance multiplies them

    def __post_init__(self):
        solver.time_grid(self.grid, self.steps, self.sway)
        if self.max_batch < 1:
            raise InputError(f"max_batch is {self.max_batch}; at least one request goes into a batch")


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
    groups: dict[tuple[int, tuple[str, ...]], list[int]] = {}
    for i, row in enumerate(rows):
        live = _live(config, params, row, f"request {i}")
        groups.setdefault((-(-row.request.length // BUCKET) * BUCKET, live), []).append(i)

    results: list[Result | None] = [None] * len(rows)
    for (frames, live), members in groups.items():
        for first in range(0, len(members), sample.max_batch):
            batch = members[first : first + sample.max_batch]
            y = _run(config, params, [rows[i] for i in batch], [noise[i] if noise else {} for i in batch], frames, live, sample)
            for place, i in enumerate(batch):
                results[i] = _result(rows[i], {name: values[place] for name, values in y.items()})
    return results


def _live(config: JamFlowConfig, params: Mapping[str, Any], row: Row, where: str) -> tuple[str, ...]:
    """The streams that have to be computed for a request: those that are there; both, if one alone would not be the same."""
    there = tuple(name for name, state in zip(_STREAMS, (row.audio_state, row.motion_state)) if state != ABSENT)
    live = there if len(there) == 1 and (config.runs_alone(there[0]) or len(params) == 1) else _STREAMS
    for name in live:
        if name not in params:
            raise InputError(f"{where}: it needs the {name} stream, and this model has none")
    return live


def _run(config, params, rows, noise, frames, live, sample) -> dict[str, np.ndarray]:
    """One program call: y_1 of the live streams, with filler rows at the end."""
    filler = (1 << (len(rows) - 1).bit_length()) - len(rows)
    rows, noise = rows + rows[:1] * filler, noise + noise[:1] * filler
    present = frozenset().union(*(row.present for row in rows))
    dropped, coefficients = guidance.passes(Scales.of(sample.guidance), present)
    y1 = _solve(
        config, {name: params[name] for name in live}, conditions(rows, frames), _noise(config, rows, noise, frames, live),
        solver.time_grid(sample.grid, sample.steps, sample.sway), np.array(coefficients, np.float32),
        method=sample.method, dropped=dropped,
    )
    return jax.device_get(y1)


@functools.partial(jax.jit, static_argnames=("config", "method", "dropped"))
def _solve(
    config: JamFlowConfig,
    params: Mapping[str, Any],
    conditions: Conditions,
    y0: dict[str, Float[Array, "B L D"]],
    grid: Float[Array, "n"],
    coefficients: Float[Array, "P"],
    *,
    method: solver.Method,
    dropped: tuple[tuple[str, ...], ...],
) -> dict[str, Float[Array, "B L D"]]:
    """Integrates (2). The streams in y0 are the live ones; grid and coefficients are traced, so that scales cost no compilation."""
    stacked = guidance.stack_conditions(conditions, dropped)
    states = {"audio": conditions.audio_state_B, "motion": conditions.motion_state_B}
    other = {"audio": conditions.audio_context_BTF, "motion": conditions.motion_context_BMD}

    def velocity(t, y):
        x_audio, x_motion = (guidance.stack(y.get(name, other[name]), len(dropped)) for name in _STREAMS)
        time = jnp.full(x_audio.shape[0], t)
        arguments = model_arguments(stacked, x_audio, x_motion, time, time)
        arguments |= {name: None for name in _STREAMS if name not in y}
        v = dict(zip(_STREAMS, JamFlow(config).apply({"params": params}, **arguments)))
        return {
            name: jnp.where((states[name] == GENERATED)[:, None, None], guidance.combine(v[name], coefficients), 0)
            for name in y
        }

    return solver.solve(velocity, y0, grid, method)


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
