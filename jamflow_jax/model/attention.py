"""Attention within a stream and across both: local, time-aligned, asymmetric (JAM-Flow, Algorithm 2).

In a joint layer the rows of each stream see keys of both,

    audio rows    all audio keys  +  the motion frames that overlap [t - w, t + w]
    motion rows   motion frames within w  +  the mel frames those windows reach back to

with one softmax over the union. All distances are whole ticks of 1/375 s (mel frame j at 4 j, motion frame i over
[15 i, 15 i + 15)), so that every row sees the exact window whatever its position:

    motion i, motion i'   15 |i - i'| <= w
    audio j,  motion i    15 i <= 4 j + w   and   15 i + 15 > 4 j - w      (one relation, read in both directions)
    audio j,  audio j'    4 |j - j'| <= w

This file holds the dense form with float32 logits, the oracle that faster ones are tested against; `backends.py` lists them.
"""
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jamflow_jax.model.config import WindowConfig
from jamflow_jax.timeline import MEL_TICKS, MOTION_TICKS, motion_frames, window_ticks

QKV = tuple[Float[Array, "B T H K"], Float[Array, "B T H K"], Float[Array, "B T H K"]]
Window = Fraction | None
Ticks = Array | np.ndarray  # of 1/375 s


def attend(
    q_BTHK: Float[Array, "B T H K"],
    k_BSHK: Float[Array, "B S H K"],
    v_BSHK: Float[Array, "B S H K"],
    mask_bTS: Bool[Array, "b T S"] | None = None,
) -> Float[Array, "B T H K"]:
    """Softmax attention, scale 1/sqrt(K), logits in float32. A row that may see no key gives zeros.

    The sum of the weights divides the output, K numbers a row, instead of the weights, S numbers a row.
    """
    q_BHTK, k_BHSK, v_BHSK = map(heads_first, (q_BTHK * q_BTHK.shape[-1] ** -0.5, k_BSHK, v_BSHK))
    logits_BHTS = jnp.einsum("bhtk,bhsk->bhts", q_BHTK, k_BHSK, preferred_element_type=jnp.float32)
    mask_b1TS = None if mask_bTS is None else mask_bTS[:, None]
    highest_BHT1 = seen(jax.lax.stop_gradient(logits_BHTS), mask_b1TS, LOWEST).max(-1, keepdims=True)
    weight_BHTS = exponentials(logits_BHTS, highest_BHT1, mask_b1TS)
    total_BHT = weight_BHTS.sum(-1)
    total_BHT = jnp.where(total_BHT > 0, total_BHT, 1.0)
    o_BHTK = jnp.einsum("bhts,bhsk->bhtk", weight_BHTS.astype(v_BSHK.dtype), v_BHSK, preferred_element_type=jnp.float32)
    return heads_last(o_BHTK / total_BHT[..., None]).astype(v_BSHK.dtype)


def heads_first(x: Array) -> Array:
    """[B, ..., T, H, K] -> [B, H, ..., T, K]: XLA's CPU code multiplies such arrays up to 1.7 times as fast."""
    return jnp.moveaxis(x, -2, 1)


def heads_last(x: Array) -> Array:
    """[B, H, ..., T, K] -> [B, ..., T, H, K]."""
    return jnp.moveaxis(x, 1, -2)


# Of a logit whose key is not seen. Finite: with -inf a row without keys is 0/0, and its gradient poisons the batch.
LOWEST = float(np.finfo(np.float32).min)


def seen(x: Array, mask: Array | None, otherwise: float) -> Array:
    """`x`, or `otherwise` where the mask is off."""
    return x if mask is None else jnp.where(mask, x, otherwise)


def exponentials(x: Array, highest: Array, mask: Array | None = None) -> Array:
    """e^(x - highest), 0 where the mask is off or `x` is LOWEST.

    `highest` is the largest that is seen; no gradient may hang on it, which the quotient of a softmax allows.
    """
    return jnp.exp(seen(x, mask, LOWEST) - jnp.where(highest > LOWEST, highest, 0.0))


def self_attention(
    qkv: QKV, valid_BT: Bool[Array, "B T"] | None = None, window: Window = None, ticks: int = MEL_TICKS
) -> Float[Array, "B T H K"]:
    """Attention within one stream, over valid keys inside `window` seconds each side (None: everywhere).

    `ticks` is the length of one frame: MEL_TICKS or MOTION_TICKS.
    """
    q, k, v = qkv
    return attend(q, k, v, _both(band(q.shape[1], ticks, window), valid_BT))


def joint_attention(
    audio: QKV,
    motion: QKV,
    window: WindowConfig,
    length_B: Int[Array, "B"] | None = None,
    joint_audio_B: Bool[Array, "B"] | None = None,
    joint_motion_B: Bool[Array, "B"] | None = None,
) -> tuple[Float[Array, "B T H K"], Float[Array, "B M H K"]]:
    """Attention of both streams over the union of their keys, own keys first (dense oracle).

    Args:
      audio: queries, keys, values [B, T, H, K] of the audio stream, already rotated.
      motion: the same [B, M, H, K] of the motion stream.
      window: reach of each query -> key pair.
      length_B: valid mel frames; motion frames follow from them. None: all are valid.
      joint_audio_B: alpha of the audio stream: where False, audio rows see audio alone. None: all True.
      joint_motion_B: alpha of the motion stream.

    Returns:
      outputs of the audio rows [B, T, H, K] and the motion rows [B, M, H, K].
    """
    q_a, k_a, v_a = audio
    q_m, k_m, v_m = motion
    frames_a, frames_m = q_a.shape[1], q_m.shape[1]
    valid_a = valid_frames(length_B, frames_a)
    valid_m = valid_frames(None if length_B is None else motion_frames(length_B), frames_m)

    kept = window.keep_when_alone
    own_a = _both(_widen(band(frames_a, MEL_TICKS, window.audio_audio), kept, joint_audio_B), valid_a)
    own_m = _both(_widen(band(frames_m, MOTION_TICKS, window.motion_motion), kept, joint_motion_B), valid_m)
    cross_am = _both(cross_band(frames_a, frames_m, window.audio_motion), valid_m)
    cross_ma = _both(cross_band(frames_a, frames_m, window.motion_audio).swapaxes(1, 2), valid_a)
    return (
        attend(q_a, _cat(k_a, k_m), _cat(v_a, v_m), _cat_masks(own_a, _switch(cross_am, joint_audio_B))),
        attend(q_m, _cat(k_m, k_a), _cat(v_m, v_a), _cat_masks(own_m, _switch(cross_ma, joint_motion_B))),
    )


def band(frames: int, ticks: int, window: Window) -> Bool[Array, "1 T T"]:
    """Which keys of its own stream each row sees: |i - j| * ticks <= window."""
    position_T = jnp.arange(frames) * ticks
    return near(position_T, position_T, window)[None]


def cross_band(frames_a: int, frames_m: int, window: Window) -> Bool[Array, "1 T M"]:
    """Which (mel frame, motion frame) pairs see one another: the motion frame overlaps [t - window, t + window]."""
    return overlapping(MEL_TICKS * jnp.arange(frames_a), MOTION_TICKS * jnp.arange(frames_m), window)[None]


def near(row_T: Ticks, key_S: Ticks, window: Window) -> Bool[Array, "T S"]:
    """Frames of one stream, by their ticks (NumPy or JAX): those not further apart than the window."""
    apart_TS = abs(row_T[:, None] - key_S[None, :])
    return apart_TS >= 0 if window is None else apart_TS <= window_ticks(window)[0]


def overlapping(mel_T: Ticks, motion_M: Ticks, window: Window) -> Bool[Array, "T M"]:
    """Mel and motion frames, by the tick a mel frame sits at and the tick a motion frame starts at."""
    ahead_TM = motion_M[None, :] - mel_T[:, None]
    if window is None:
        return abs(ahead_TM) >= 0
    inclusive, exclusive = window_ticks(window)
    return (ahead_TM <= inclusive) & (-ahead_TM - MOTION_TICKS <= exclusive)


def valid_frames(length_B: Int[Array, "B"] | None, frames: int) -> Bool[Array, "B T"] | None:
    """True before each example's length; None when there are no lengths."""
    return None if length_B is None else jnp.arange(frames)[None, :] < length_B[:, None]


def _both(mask_bTS, valid_BS):
    return mask_bTS if valid_BS is None else mask_bTS & valid_BS[:, None, :]


def _widen(mask_1TT, kept, joint_B):
    """The window of a stream's own keys, lifted where the stream is cut off and does not keep it."""
    return mask_1TT if kept or joint_B is None else mask_1TT | ~joint_B[:, None, None]


def _switch(mask_bTS, on_B):
    return mask_bTS if on_B is None else mask_bTS & on_B[:, None, None]


def _cat(first, second):
    return jnp.concatenate([first, second], axis=1)


def _cat_masks(first, second):
    batch = max(first.shape[0], second.shape[0])
    return jnp.concatenate([jnp.broadcast_to(m, (batch, *m.shape[1:])) for m in (first, second)], axis=-1)
