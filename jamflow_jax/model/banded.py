"""Attention in bands: the numbers of attention.py, at a cost linear in the clip's length wherever a window is finite.

Time is cut into blocks of 60 g ticks, 15 g mel frames or 4 g motion frames. If a window reaches no further than a block, rows of
block n see keys of blocks n - 1, n, n + 1 only, whatever their streams:

    (1)  logits_n = q_n [k_{n-1} k_n k_{n+1}]^T,  under one small mask that is the same for every block
    (2)  infinite windows (audio rows, audio keys): logits_n = q_n k^T over all keys
    (3)  o = sum_p e^(logits_p - m) v_p / sum_p e^(logits_p - m) over the parts p of a row, its own stream's keys and the other's,
         with m the largest logit of all parts

so that no array of all motion rows times all keys exists, nor one of all audio rows times all motion keys.
"""
import dataclasses
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jamflow_jax.model import attention
from jamflow_jax.model.attention import LOWEST, QKV, Window, exponentials, near, overlapping, seen, valid_frames
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.timeline import CROP_MEL, MEL_TICKS, MOTION_TICKS, TICKS_PER_SECOND, motion_frames

GRID = CROP_MEL * MEL_TICKS  # ticks of 0.16 s, where mel and motion frames meet
LEAST = 2  # grid steps of a block at least: smaller products are not worth their overhead


def self_attention(
    qkv: QKV, valid_BT: Bool[Array, "B T"] | None = None, window: Window = None, ticks: int = MEL_TICKS
) -> Float[Array, "B T H K"]:
    """`attention.self_attention`."""
    q, k, v = qkv
    blocks = Blocks.of(q.shape[1] * ticks, window)
    if blocks is None:
        return attention.self_attention(qkv, valid_BT, window, ticks)
    return attend(blocks, q, ticks, [_keys(blocks, k, v, (ticks, ticks), window, valid_BT)])


def joint_attention(
    audio: QKV,
    motion: QKV,
    window: WindowConfig,
    length_B: Int[Array, "B"] | None = None,
    joint_audio_B: Bool[Array, "B"] | None = None,
    joint_motion_B: Bool[Array, "B"] | None = None,
) -> tuple[Float[Array, "B T H K"], Float[Array, "B M H K"]]:
    """`attention.joint_attention`."""
    blocks = Blocks.of(ticks_of(audio, motion), window.motion_motion, window.motion_audio, window.audio_motion, window.audio_audio)
    if blocks is None:
        return attention.joint_attention(audio, motion, window, length_B, joint_audio_B, joint_motion_B)
    keys_a, keys_m = joint_keys(blocks, audio, motion, window, length_B, joint_audio_B, joint_motion_B)
    return attend(blocks, audio[0], MEL_TICKS, keys_a), attend(blocks, motion[0], MOTION_TICKS, keys_m)


def ticks_of(audio: QKV, motion: QKV) -> int:
    """How long both streams last."""
    return max(audio[0].shape[1] * MEL_TICKS, motion[0].shape[1] * MOTION_TICKS)


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Time in `count` blocks of `size` grid steps."""

    size: int
    count: int

    @classmethod
    def of(cls, ticks: int, *windows: Window) -> "Blocks | None":
        """Blocks as long as the longest window for which three of them are shorter than the clip; None: there is none.

        A single block (`Blocks(n, 1)`) is the dense form.
        """
        sizes = [max(LEAST, _grid_steps(window)) for window in windows if window is not None]
        sizes = [size for size in sizes if 3 * size * GRID < ticks]
        return cls(max(sizes), -(-ticks // (max(sizes) * GRID))) if sizes else None

    def reach(self, window: Window) -> bool:
        """Whether rows see keys of neighbouring blocks only."""
        return window is not None and self.count > 1 and _grid_steps(window) <= self.size

    def cut(self, x: Array, ticks: int) -> Array:
        """[B, T, ...] -> [B, N, frames of a block, ...], with zeros behind the end."""
        frames = self.size * GRID // ticks
        x = jnp.pad(x, ((0, 0), (0, self.count * frames - x.shape[1]), *((0, 0),) * (x.ndim - 2)))
        return x.reshape(x.shape[0], self.count, frames, *x.shape[2:])

    def join(self, x: Array, frames: int) -> Array:
        """[B, N, frames of a block, ...] -> [B, T, ...], the reverse."""
        return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :frames]

    def neighbourhoods(self, x: Array, ticks: int) -> Array:
        """[B, T, ...] -> [B, N, frames of three blocks, ...]: each block between the one before and the one after."""
        x = jnp.pad(self.cut(x, ticks), ((0, 0), (1, 1), *((0, 0),) * (x.ndim - 1)))
        return jnp.concatenate([x[:, i : i + self.count] for i in range(3)], axis=2)


class Keys(NamedTuple):
    """Keys and values of one stream for the rows of one: of all frames, or of each block's neighbourhood (N)."""

    k: Float[Array, "B *N S H K"]
    v: Float[Array, "B *N S H K"]
    mask: Bool[Array, "b n q S"] | None  # of rows q of block n


def joint_keys(
    blocks: Blocks, audio: QKV, motion: QKV, w: WindowConfig, length_B=None, joint_audio_B=None, joint_motion_B=None
) -> tuple[list[Keys], list[Keys]]:
    """What audio rows see and what motion rows see, of their own stream and of the other."""
    (_, k_a, v_a), (_, k_m, v_m) = audio, motion
    valid_a = valid_frames(length_B, k_a.shape[1])
    valid_m = valid_frames(None if length_B is None else motion_frames(length_B), k_m.shape[1])
    a, m = MEL_TICKS, MOTION_TICKS
    widened_a, widened_m = (None if w.keep_when_alone else joint_B for joint_B in (joint_audio_B, joint_motion_B))
    return [
        _keys(blocks, k_a, v_a, (a, a), w.audio_audio, valid_a, widened_B=widened_a),
        _keys(blocks, k_m, v_m, (a, m), w.audio_motion, valid_m, on_B=joint_audio_B),
    ], [
        _keys(blocks, k_m, v_m, (m, m), w.motion_motion, valid_m, widened_B=widened_m),
        _keys(blocks, k_a, v_a, (m, a), w.motion_audio, valid_a, on_B=joint_motion_B),
    ]  # fmt: skip


def _keys(blocks: Blocks, k, v, ticks: tuple[int, int], window: Window, valid_BS, on_B=None, widened_B=None) -> Keys:
    """`ticks`: of the rows' and the keys' frames. Where `on_B` is False nothing is seen, where `widened_B` is, everything."""
    rows, keys = ticks
    if blocks.reach(window) and widened_B is None:
        step = blocks.size * GRID
        seen_QS = _relation(np.arange(0, step, rows), np.arange(-step, 2 * step, keys), ticks, window)
        there_BT = jnp.ones((1, k.shape[1]), bool) if valid_BS is None else valid_BS
        mask = seen_QS & blocks.neighbourhoods(there_BT, keys)[:, :, None]
        k, v = (blocks.neighbourhoods(part, keys) for part in (k, v))
    else:
        mask = None
        if window is not None:
            position_R = rows * jnp.arange(blocks.count * blocks.size * GRID // rows)
            mask = blocks.cut(_relation(position_R, keys * jnp.arange(k.shape[1]), ticks, window)[None], rows)
            if widened_B is not None:
                mask |= ~widened_B[:, None, None, None]
        if valid_BS is not None:
            valid = valid_BS[:, None, None]
            mask = valid if mask is None else mask & valid
    if on_B is not None:
        mask = on_B[:, None, None, None] if mask is None else mask & on_B[:, None, None, None]
    return Keys(k, v, mask)


def _relation(row_T, key_S, ticks: tuple[int, int], window: Window):
    """Which rows see which keys, by their ticks."""
    if ticks == (MOTION_TICKS, MEL_TICKS):
        return overlapping(key_S, row_T, window).T
    return (near if ticks[0] == ticks[1] else overlapping)(row_T, key_S, window)


def attend(blocks: Blocks, q_BTHK, ticks: int, parts: list[Keys]) -> Float[Array, "B T H K"]:
    """(3), with float32 logits. A row that may see no key gives zeros."""
    q = cut_queries(blocks, q_BTHK, ticks)
    logits = [logits_of(q, part) for part in parts]
    highest = jax.lax.stop_gradient(jnp.stack([x.max(-1) for x in logits]).max(0))[..., None]
    weights = [exponentials(x, highest) for x in logits]
    total = sum(x.sum(-1) for x in weights)
    total = jnp.where(total > 0, total, 1.0)
    out = sum(weighted(x, part) for x, part in zip(weights, parts))
    return blocks.join(attention.heads_last(out / total[..., None]).astype(q_BTHK.dtype), q_BTHK.shape[1])


def cut_queries(blocks: Blocks, q_BTHK, ticks: int) -> Float[Array, "B H N Q K"]:
    """Scaled queries of each block."""
    return attention.heads_first(blocks.cut(q_BTHK * q_BTHK.shape[-1] ** -0.5, ticks))


def logits_of(q_BHNQK, part: Keys) -> Float[Array, "B H N Q S"]:
    """Of scaled queries with keys, in float32; LOWEST where a key is not seen."""
    x = _product("bh{0}k,bh{1}sk->bh{0}s", q_BHNQK, attention.heads_first(part.k))
    return seen(x, None if part.mask is None else part.mask[:, None], LOWEST)


def weighted(weights_BHNQS, part: Keys) -> Float[Array, "B H N Q K"]:
    """Sums of values."""
    return _product("bh{0}s,bh{1}sk->bh{0}k", weights_BHNQS.astype(part.v.dtype), attention.heads_first(part.v))


@partial(jax.checkpoint, static_argnums=0, prevent_cse=False)  # or the rows would be kept in both shapes
def _product(equation: str, rows_BHNQx, keys_BHxSK) -> Float[Array, "B H N Q x"]:
    """Of rows with the keys or values of all frames or of their block's neighbourhood, in float32."""
    if keys_BHxSK.ndim == 5:
        return jnp.einsum(equation.format("nq", "n"), rows_BHNQx, keys_BHxSK, preferred_element_type=jnp.float32)
    # rows of all blocks in one axis: gradients are summed over it, and over two XLA on CPUs first turns the logits round
    (*batch, blocks, rows, width) = rows_BHNQx.shape
    rows_BHTx = rows_BHNQx.reshape(*batch, blocks * rows, width)
    out = jnp.einsum(equation.format("t", ""), rows_BHTx, keys_BHxSK, preferred_element_type=jnp.float32)
    return out.reshape(*batch, blocks, rows, out.shape[-1])


def _grid_steps(window: Fraction) -> int:
    return -(-window * TICKS_PER_SECOND // GRID)
