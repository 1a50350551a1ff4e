"""Audio rows by two partial softmaxes, one over all mel frames and one over a band of motion frames, merged in both directions.

Each part p of a row gives its own softmax's output o_p and log-sum-exp l_p. Forward,

    (1)  l = log sum_p e^l_p,    o = sum_p e^(l_p - l) o_p

and backward each part is given the *merged* o and l, with which its weights are those of the whole row:

    (2)  P = e^(s - l),   D = sum_k do_k o_k,   dv = P^T do,   ds = P (do v^T - D),   dq = ds k,   dk = ds^T q

Differentiating (1) through a kernel's own rule instead is wrong without a word: the kernels' rules take no cotangent of l, and
their D is that of their part alone. The part over all mel frames is a `Whole`, in plain JAX (online.py) or a kernel (kernels.py);
bands, and the motion rows, are those of banded.py.
"""
import dataclasses
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jamflow_jax.model import banded
from jamflow_jax.model.attention import QKV, Window, exponentials, heads_first, heads_last
from jamflow_jax.model.banded import GRID, Blocks, Keys
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.timeline import MEL_TICKS, MOTION_TICKS


class Whole(Protocol):
    """Softmax attention of all rows to the first `length_B` keys (None: to all); hashable. q, k, v and o are [B, T, H, K]."""

    def forward(self, q, k, v, length_B) -> tuple[Float[Array, "B T H K"], Float[Array, "B T H"]]:
        """Output and log-sum-exp in float32; where there is no key, zeros and NOTHING."""

    def backward(self, q, k, v, length_B, o, lse_BTH, do) -> tuple[Array, Array, Array]:
        """dq, dk, dv by (2)."""


@dataclasses.dataclass(frozen=True)
class Flash:
    """A backend of attention: what sees all mel frames goes through `whole`, all else through banded.py."""

    whole: Whole

    def self_attention(
        self, qkv: QKV, valid_BT: Bool[Array, "B T"] | None = None, window: Window = None, ticks: int = MEL_TICKS
    ) -> Float[Array, "B T H K"]:
        """`attention.self_attention`; the valid frames are the first ones."""
        if window is not None:
            return banded.self_attention(qkv, valid_BT, window, ticks)
        return merged(self.whole, None, *qkv, None if valid_BT is None else valid_BT.sum(1), None)

    def joint_attention(
        self,
        audio: QKV,
        motion: QKV,
        window: WindowConfig,
        length_B: Int[Array, "B"] | None = None,
        joint_audio_B: Bool[Array, "B"] | None = None,
        joint_motion_B: Bool[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B T H K"], Float[Array, "B M H K"]]:
        """`attention.joint_attention`."""
        if window.audio_audio is not None:
            return banded.joint_attention(audio, motion, window, length_B, joint_audio_B, joint_motion_B)
        ticks = banded.ticks_of(audio, motion)
        blocks = Blocks.of(ticks, window.motion_motion, window.motion_audio, window.audio_motion) or Blocks(-(-ticks // GRID), 1)
        (_, band), keys_m = banded.joint_keys(blocks, audio, motion, window, length_B, joint_audio_B, joint_motion_B)
        return merged(self.whole, blocks, *audio, length_B, band), banded.attend(blocks, motion[0], MOTION_TICKS, keys_m)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def merged(whole: Whole, blocks: Blocks | None, q, k, v, length_B, band: Keys | None) -> Float[Array, "B T H K"]:
    """(1) of all mel frames k, v and, if there is one, a band of motion frames."""
    return _forward(whole, blocks, q, k, v, length_B, band)[0]


def _forward(whole, blocks, q, k, v, length_B, band):
    o, lse_BTH = whole.forward(q, k, v, length_B)
    if band is not None:
        o_band, lse_band_BTH = _band_forward(blocks, q, band)
        total_BTH = jnp.logaddexp(lse_BTH, lse_band_BTH)
        share, share_band = (jnp.exp(part - total_BTH)[..., None] for part in (lse_BTH, lse_band_BTH))
        o, lse_BTH = o * share + o_band * share_band, total_BTH
    o = o.astype(q.dtype)
    return o, (q, k, v, length_B, band, o, lse_BTH)


def _backward(whole, blocks, residuals, do):
    q, k, v, length_B, band, o, lse_BTH = residuals
    dq, dk, dv = whole.backward(q, k, v, length_B, o, lse_BTH, do)
    dband = None
    if band is not None:
        dq_band, dk_band, dv_band = _band_backward(blocks, q, band, o, lse_BTH, do)
        dq, dband = dq + dq_band, Keys(dk_band, dv_band, None)
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None, dband


merged.defvjp(_forward, _backward)


def _band_logits(blocks, band, q, k):
    return banded.logits_of(banded.cut_queries(blocks, q, MEL_TICKS), band._replace(k=k))


def _band_forward(blocks, q, band):
    x = _band_logits(blocks, band, q, band.k)
    highest = x.max(-1)
    weights = exponentials(x, highest[..., None])
    total = weights.sum(-1)
    total = jnp.where(total > 0, total, 1.0)
    o = heads_last(banded.weighted(weights, band) / total[..., None])
    lse = jnp.moveaxis(highest + jnp.log(total), 1, 3)
    return blocks.join(o, q.shape[1]), blocks.join(lse, q.shape[1])


def _band_backward(blocks, q, band, o, lse_BTH, do):
    x, pull = jax.vjp(partial(_band_logits, blocks, band), q, band.k)
    lse = jnp.moveaxis(blocks.cut(lse_BTH, MEL_TICKS), 3, 1)[..., None]
    weights = jnp.exp(x - lse)
    pull_v = jax.vjp(lambda v: banded.weighted(weights, band._replace(v=v)), band.v)[1]
    do_cut = heads_first(blocks.cut(do, MEL_TICKS)).astype(jnp.float32)
    dweights = jax.vjp(lambda w: banded.weighted(w, band), weights)[1](do_cut)[0]
    d = jnp.moveaxis(blocks.cut(row_products(do, o), MEL_TICKS), 3, 1)[..., None]
    return *pull(weights * (dweights - d)), *pull_v(do_cut)


def row_products(do, o) -> Float[Array, "B T H"]:
    """D of (2), in float32."""
    return (do.astype(jnp.float32) * o.astype(jnp.float32)).sum(-1)
