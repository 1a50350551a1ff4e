"""Nested guidance: one scale per condition, in the order text, audio, motion, rest.

    (1)  v = v_0 + sum_k (1 + g_k) (v_k - v_{k-1}),   v_k: conditions 1 .. k kept, the later ones dropped

Collected by pass, with n conditions,

    (2)  v = -g_1 v_0 + sum_{0<k<n} (g_k - g_{k+1}) v_k + (1 + g_n) v_n

so a pass whose coefficient vanishes need not be made: levels of equal scale telescope, scale 0 needs no unconditional pass, and
equal scales are the usual v_c + g (v_c - v_0) with two passes. A condition that an example lacks is no level of it.

All passes are one batch to the model: an example's passes stand side by side, [B * P, ...]. Which conditions a pass drops and what
it counts are arrays, so that examples with other conditions share a program as long as they need as many passes.
"""
import dataclasses
from collections.abc import Collection, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jamflow_jax.flow.states import Conditions, drop

CONDITIONS = ("text", "audio", "motion", "rest")


@dataclasses.dataclass(frozen=True)
class Scales:
    """g_k of (1). The paper has one g = 2 for everything; AlignDiT found a scale per condition better."""

    text: float = 2.0
    audio: float = 2.0
    motion: float = 2.0
    rest: float = 2.0

    @classmethod
    def of(cls, scale: "Scales | float") -> "Scales":
        """One number for all conditions, or the scales themselves."""
        return scale if isinstance(scale, cls) else cls(*[float(scale)] * len(CONDITIONS))


def passes(scales: Scales, present: Collection[str]) -> tuple[tuple[tuple[str, ...], ...], tuple[float, ...]]:
    """The passes that have to be made.

    Args:
      scales: g of every condition.
      present: the conditions that the example has; the others are left alone.

    Returns:
      the conditions dropped in each pass, and each pass's coefficient (2); these sum to 1.
    """
    levels = tuple(name for name in CONDITIONS if name in present)
    if not levels:
        return ((),), (1.0,)
    g = [getattr(scales, name) for name in levels]
    coefficients = [-g[0], *(a - b for a, b in zip(g, g[1:])), 1 + g[-1]]
    made = [(levels[k:], c) for k, c in enumerate(coefficients) if c]
    return tuple(dropped for dropped, _ in made), tuple(c for _, c in made)


def table(each: Sequence[tuple]) -> tuple[Bool[np.ndarray, "B P 4"], Float[np.ndarray, "B P"]]:
    """What `passes` gave for every example of a batch, as many passes each: which of CONDITIONS they drop, and the coefficients."""
    dropped = [[[name in names for name in CONDITIONS] for names in dropped] for dropped, _ in each]
    return np.array(dropped), np.array([coefficients for _, coefficients in each], np.float32)


def stack_conditions(conditions: Conditions, dropped_BPC: Bool[Array, "B P 4"]) -> Conditions:
    """Conditions of every pass, [B * P, ...], each less what that pass drops."""
    each = [drop(conditions, **dict(zip(CONDITIONS, pass_BC.T))) for pass_BC in jnp.moveaxis(dropped_BPC, 1, 0)]
    return jax.tree.map(lambda *rows: jnp.stack(rows, axis=1).reshape(len(rows) * len(rows[0]), *rows[0].shape[1:]), *each)


def stack(values_B: Array, number: int) -> Array:
    """The same values for every pass: [B, ...] -> [B * P, ...]."""
    return jnp.repeat(values_B, number, axis=0)


def combine(v_BP: Float[Array, "BP L D"], coefficients_BP: Float[Array, "B P"]) -> Float[Array, "B L D"]:
    """The guided velocity (2), in float32, from the velocities of all passes."""
    v = v_BP.astype(jnp.float32).reshape(*coefficients_BP.shape, *v_BP.shape[1:])
    return sum(coefficients_BP[:, p, None, None] * v[:, p] for p in range(coefficients_BP.shape[1]))
