"""Attention of all rows to all keys in plain JAX, block of keys by block of keys: no array of all rows times all keys exists.

With m the largest logit seen so far, and a block's logits s,

    (1)  m' = max(m, max s),   l' = e^(m - m') l + sum e^(s - m'),   o' = e^(m - m') o + e^(s - m') v

and o / l, m + log l at the end. Backward each block's weights e^(s - lse) are made again: flash.py, (2).
"""
import dataclasses

import jax
import jax.numpy as jnp

from jamflow_jax.model.flash import row_products

NOTHING = jnp.finfo(jnp.float32).min / 2  # log-sum-exp of no key: finite, so that no inf - inf arises


@dataclasses.dataclass(frozen=True)
class Online:
    """`flash.Whole` for any device."""

    size: int = 512  # keys of a block, at most

    def forward(self, q, k, v, length_B):
        (batch, rows, heads, width), blocks = q.shape, self._blocks(k.shape[1])
        k, v, seen = self._cut(k, length_B, v)
        q = q * width**-0.5

        def step(carry, block):
            m, total, o = carry
            k, v, seen = block
            x = _logits(q, k, seen)
            higher = jnp.maximum(m, x.max(-1))
            weights = jnp.where(seen, jnp.exp(x - higher[..., None]), 0.0)
            kept = jnp.exp(m - higher)
            more = jnp.einsum("bhts,bshk->bhtk", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
            return (higher, kept * total + weights.sum(-1), kept[..., None] * o + more), None

        zero = jnp.zeros((batch, heads, rows), jnp.float32)
        first = zero + NOTHING, zero, jnp.zeros((batch, heads, rows, width), jnp.float32)
        (m, total, o), _ = jax.lax.scan(step, first, (k, v, seen), length=blocks)
        some = total > 0
        o = o / jnp.where(some, total, 1.0)[..., None]
        lse = jnp.where(some, m + jnp.log(jnp.where(some, total, 1.0)), NOTHING)
        return o.swapaxes(1, 2), lse.swapaxes(1, 2)

    def backward(self, q, k, v, length_B, o, lse_BTH, do):
        scale, frames = q.shape[-1] ** -0.5, k.shape[1]
        k, v, seen = self._cut(k, length_B, v)
        d, lse = (x.swapaxes(1, 2)[..., None] for x in (row_products(do, o), lse_BTH))
        q = q * scale

        def product(equation, a, b):
            return jnp.einsum(equation, a.astype(q.dtype), b, preferred_element_type=jnp.float32)

        def step(dq, block):
            k, v, seen = block
            weights = jnp.where(seen, jnp.exp(_logits(q, k, seen) - lse), 0.0)
            dx = weights * (product("bthk,bshk->bhts", do, v) - d)
            dk, dv = product("bhts,bthk->bshk", dx, q), product("bhts,bthk->bshk", weights, do)
            return dq + product("bhts,bshk->bthk", dx, k), (dk, dv)

        dq, (dk, dv) = jax.lax.scan(step, jnp.zeros(q.shape, jnp.float32), (k, v, seen))
        return dq * scale, _whole(dk, frames), _whole(dv, frames)

    def _blocks(self, keys: int) -> int:
        return -(-keys // self.size)

    def _cut(self, k, length_B, *more):
        """Keys and values in blocks of one size, blocks first, and which of them are seen [N, B, 1, 1, S]."""
        (batch, keys, *_), blocks = k.shape, self._blocks(k.shape[1])
        size = -(-keys // blocks)
        length_B = jnp.full(batch, keys) if length_B is None else length_B
        seen = jnp.arange(blocks * size) < length_B[:, None]

        def cut(x):
            x = jnp.pad(x, ((0, 0), (0, blocks * size - x.shape[1]), *((0, 0),) * (x.ndim - 2)))
            return jnp.moveaxis(x.reshape(batch, blocks, size, *x.shape[2:]), 1, 0)

        return *map(cut, (k, *more)), cut(seen)[:, :, None, None]


def _logits(q, k, seen):
    x = jnp.einsum("bthk,bshk->bhts", q, k, preferred_element_type=jnp.float32)
    return jnp.where(seen, x, NOTHING)


def _whole(x_NBSHK, frames):
    x = jnp.moveaxis(x_NBSHK, 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :frames]
