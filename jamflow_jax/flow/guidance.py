"""Nested guidance: one scale per condition, in the order text, audio, motion, rest.

    (1)  v = v_0 + sum_k (1 + g_k) (v_k - v_{k-1}),   v_k: conditions 1 .. k kept, the later ones dropped

Collected by pass, with n conditions,

    (2)  v = -g_1 v_0 + sum_{0<k<n} (g_k - g_{k+1}) v_k + (1 + g_n) v_n

so a pass whose coefficient vanishes need not be made: levels of equal scale telescope, scale 0 needs no unconditional pass, and
equal scales are the usual v_c + g (v_c - v_0) with two passes. A condition that nobody in the batch has is no level at all; an
example that lacks one the others have gets v_k = v_{k-1}, so that its term in (1) vanishes.

All passes are one batch to the model: conditions and x are stacked, pass by pass, along the batch axis.
"""
import dataclasses
from collections.abc import Collection, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
      present: the conditions that any example of the batch has; the others are left alone.

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


def stack_conditions(conditions: Conditions, dropped: Sequence[Collection[str]]) -> Conditions:
    """Conditions of every pass, [P * B, ...], pass-major, each less what that pass drops."""
    each = [drop(conditions, **dict.fromkeys(names, True)) for names in dropped]
    return jax.tree.map(lambda *rows: jnp.concatenate(rows), *each)


def stack(values_B: Array, number: int) -> Array:
    """The same values for every pass: [B, ...] -> [P * B, ...]."""
    return jnp.concatenate([values_B] * number)


def combine(v_PB: Float[Array, "PB L D"], coefficients: Float[Array, "P"]) -> Float[Array, "B L D"]:
    """The guided velocity (2), in float32, from the velocities of all passes."""
    v = v_PB.astype(jnp.float32).reshape(coefficients.shape[0], -1, *v_PB.shape[1:])
    return sum(c * row for c, row in zip(coefficients, v))
