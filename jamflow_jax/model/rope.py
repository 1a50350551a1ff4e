"""Rotary position embedding, interleaved pairs, on the clock both streams share.

    theta_d = 10000^(-2 d / K),   (x_2d, x_2d+1) -> rotation by p * theta_d

as in x-transformers >= 1.31.14, which F5-TTS uses: neighbouring channels are a pair (older versions paired the halves; the
checkpoints do not load into that). Mel frame j has position j. Motion frame i has (JAM-Flow, section 3.3)

    "time"    3.75 i             the mel position of the same instant (15 mel frames last as long as 4 motion frames)
    "length"  i L_a / L_m        the paper's rule (p / L) max(L_a, L_m); equal to "time" but for the rounding of L_m
    "none"    i                  for ablation

Angles and their sines are float32 always: half precision is off by 0.4 rad at 1,024 frames.
"""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jamflow_jax.model.config import RopeAlignment
from jamflow_jax.timeline import MEL_TICKS, MOTION_TICKS, mel_frames_of_motion, motion_frames

Rope = tuple[Float[Array, "b t k"], Float[Array, "b t k"]]


def audio_positions(frames: int) -> Float[Array, "1 T"]:
    return jnp.arange(frames, dtype=jnp.float32)[None]


def motion_positions(
    frames: int, alignment: RopeAlignment, length_B: Int[Array, "B"] | None = None, mel_frames: int | None = None
) -> Float[Array, "b M"]:
    """Positions of motion frames among mel frames.

    Args:
      frames: M, motion frames.
      alignment: see the module's docstring.
      length_B: valid mel frames of each example; "length" alone looks at them.
      mel_frames: length taken when `length_B` is None; by default the most that M motion frames cover.
    """
    position_M = jnp.arange(frames, dtype=jnp.float32)[None]
    if alignment == "time":
        return position_M * (MOTION_TICKS / MEL_TICKS)
    if alignment == "length":
        if length_B is None:
            length_B = jnp.array([mel_frames or mel_frames_of_motion(frames)])
        return position_M * (length_B / jnp.maximum(motion_frames(length_B), 1))[:, None].astype(jnp.float32)
    return position_M


def rope(position_bT: Float[Array, "b T"], head_dim: int) -> Rope:
    """Cosines and sines [b, T, K] for `rotate`; b is 1 or the batch."""
    theta_k = 10_000.0 ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    angle_bTK = jnp.repeat(position_bT[:, :, None] * theta_k, 2, axis=-1)
    return jnp.cos(angle_bTK), jnp.sin(angle_bTK)


def rotate(x_BTHK: Float[Array, "B T H K"], table: Rope, heads: int | None = None) -> Float[Array, "B T H K"]:
    """Rotates the first `heads` heads (all by default; 1 is F5-TTS v0). Computed in float32, returned in the input's dtype."""
    cos_bT1K, sin_bT1K = (part[:, :, None, :] for part in table)
    x32_BTHK = x_BTHK.astype(jnp.float32)
    even, odd = x32_BTHK[..., 0::2], x32_BTHK[..., 1::2]
    turned_BTHK = jnp.stack([-odd, even], axis=-1).reshape(x_BTHK.shape)
    out_BTHK = (x32_BTHK * cos_bT1K + turned_BTHK * sin_bT1K).astype(x_BTHK.dtype)
    if heads is None or heads >= x_BTHK.shape[2]:
        return out_BTHK
    return jax.lax.concatenate([out_BTHK[:, :, :heads], x_BTHK[:, :, heads:]], 2)
