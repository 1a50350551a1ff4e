"""Integrates dy/dt = v(t, y) from noise at t = 0 to data at t = 1.

Time grids of n steps (F5-TTS):

    (1)  uniform   t_i = i / n
    (2)  sway      t + s (cos(pi t / 2) - 1 + t); s = -1 gives 1 - cos(pi t / 2): small steps first
    (3)  epss      for n = 5, 6, 7, 10, 12, 16 a table of 1/32 steps, else uniform; sway is applied AFTER it

Steps of size h from (t, y):

    (4)  euler      y + h v(t, y)                                                    1 evaluation
    (5)  midpoint   y + h v(t + h/2, y + h/2 v(t, y))                                2 evaluations
    (6)  heun       y + h/2 (v_1 + v_2), v_1 = v(t, y), v_2 = v(t + h, y + h v_1)    2 evaluations
"""
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jamflow_jax.errors import InputError

Grid = Literal["uniform", "sway", "epss"]
Method = Literal["euler", "midpoint", "heun"]

# Empirically pruned steps, in 1/32.
EPSS = {
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}


def time_grid(name: Grid, steps: int, sway: float = -1.0) -> Float[np.ndarray, "n"]:
    """The n + 1 times of a grid, float32, from exactly 0 to 1. `sway` counts for "sway" and "epss"; 0 leaves them as they are.

    Raises:
      InputError: no such grid, no steps, or a sway that makes time run backwards.
    """
    if name not in ("uniform", "sway", "epss"):
        raise InputError(f"no time grid {name!r}; there are uniform, sway, epss")
    if steps < 1:
        raise InputError(f"{steps} steps; at least one is needed")
    t = np.linspace(0, 1, steps + 1)
    if name == "epss" and steps in EPSS:
        t = np.array(EPSS[steps]) / 32
    if name != "uniform":
        t = t + sway * (np.cos(np.pi / 2 * t) - 1 + t)
    if np.any(np.diff(t) <= 0):
        raise InputError(f"sway {sway} makes time run backwards; it lies between -1 and 1.75")
    return t.astype(np.float32)


def evaluations(grid: Float[Array, "n"], method: Method = "euler") -> Float[Array, "e"]:
    """The times at which `solve` asks for a velocity, in order.

    Raises:
      InputError: no such method.
    """
    if method not in _STEPS:
        raise InputError(f"no method {method!r}; there are {', '.join(_STEPS)}")
    grid = jnp.asarray(grid)
    return (grid[:-1, None] + jnp.array(_STEPS[method][0]) * jnp.diff(grid)[:, None]).reshape(-1)


def solve(
    velocity: Callable[[Any, Any], Any], y0: Any, grid: Float[Array, "n"], method: Method = "euler", moments: Any = None
) -> Any:
    """y at the end of `grid`, from y0 at its start; one compiled step scanned over the grid.

    Args:
      velocity: (t, y) -> dy/dt, a pytree like y.
      y0: pytree of arrays.
      grid: increasing times.
      method: one of (4) to (6).
      moments: what `velocity` takes in the places of `evaluations(grid, method)`: an array with a row for each of them, worked
        out beforehand.

    Raises:
      InputError: no such method.
    """
    moments = evaluations(grid, method) if moments is None else moments
    at, step = _STEPS[method]
    grid = jnp.asarray(grid)

    def scanned(y, step_of):
        h, moments = step_of
        return step(velocity, moments, h, y), None

    return jax.lax.scan(scanned, y0, (jnp.diff(grid), moments.reshape(-1, len(at), *moments.shape[1:])))[0]


def _move(y, h, v):
    return jax.tree.map(lambda a, b: a + h * b, y, v)


def _euler(velocity, moments, h, y):
    return _move(y, h, velocity(moments[0], y))


def _midpoint(velocity, moments, h, y):
    return _move(y, h, velocity(moments[1], _move(y, h / 2, velocity(moments[0], y))))


def _heun(velocity, moments, h, y):
    v1 = velocity(moments[0], y)
    v2 = velocity(moments[1], _move(y, h, v1))
    return _move(y, h / 2, jax.tree.map(jnp.add, v1, v2))


# where in its step, from 0 to 1, a method asks for the velocity
_STEPS = {"euler": ((0.0,), _euler), "midpoint": ((0.0, 0.5), _midpoint), "heun": ((0.0, 1.0), _heun)}
