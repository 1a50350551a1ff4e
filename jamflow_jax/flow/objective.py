"""The flow-matching objective of both streams.

    (1)  L = w_a L_audio + w_m L_motion
    (2)  L_s = sum over hidden valid frames and live dimensions of |v_s - (x_1 - x_0)|^2  /  their number

The number in (2) is that of the whole optimiser step, over all devices and microbatches, so sums and counts are returned apart
and the trainer divides once. A stream is in the loss where it is generated (see states.py); examples of weight 0 are in neither.
Everything is accumulated in float32.

Stage 1 (Motion-DiT alone) is the same objective with `hide_probs = (0, 1, 0)`, speech features in the batch, and a `model_apply`
that passes `audio=None` on: a stream whose velocity is None is not in the loss.
"""
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jamflow_jax.flow import path, states
from jamflow_jax.flow.config import ObjectiveConfig
from jamflow_jax.flow.draws import Draw, draw, example_keys

__all__ = ["Draw", "ObjectiveConfig", "conditions", "counts", "draw", "example_keys", "loss_sums", "mean_losses", "total"]


def conditions(drawn: Draw, batch: Mapping[str, Array]) -> states.Conditions:
    """What the model is told about a batch after the draws: the frames outside the spans, less what was dropped."""
    no_text_B = drawn.text_absent_B | ~jnp.asarray(batch["has_text"])
    known_audio_BT = (drawn.audio_state_B != states.ABSENT)[:, None] & ~drawn.audio_span_BT
    known_motion_BM = (drawn.motion_state_B != states.ABSENT)[:, None] & ~drawn.motion_span_BM
    everything = states.Conditions(
        audio_state_B=drawn.audio_state_B,
        motion_state_B=drawn.motion_state_B,
        audio_context_BTF=jnp.where(known_audio_BT[..., None], batch["mel"], 0),
        motion_context_BMD=jnp.where(known_motion_BM[..., None], batch["mouth"], 0),
        text_BN=jnp.where(no_text_B[:, None], -1, batch["text"]),
        drop_text_B=drawn.drop_text_B,
        rest_BMR=batch["rest"],
        length_B=jnp.asarray(batch["length"]),
        speech_BMS=batch.get("speech"),
    )
    return states.drop(
        everything,
        audio=drawn.drop_audio_B | (drawn.audio_state_B == states.ABSENT),
        motion=drawn.drop_motion_B,
        rest=drawn.drop_rest_B | ~jnp.asarray(batch["has_rest"]),
    )


def counts(
    drawn: Draw, batch: Mapping[str, Array], live_mouth_D: Bool[Array, "D"] | None = None
) -> dict[str, Float[Array, ""]]:
    """Elements in the loss of each stream (2): hidden frames x live dimensions, times the examples' weight."""
    weight_B1 = jnp.asarray(batch["weight"], jnp.float32)[:, None]
    live = batch["mouth"].shape[-1] if live_mouth_D is None else jnp.sum(jnp.asarray(live_mouth_D), dtype=jnp.float32)
    return {
        "audio": jnp.sum(weight_B1 * drawn.audio_span_BT) * batch["mel"].shape[-1],
        "motion": jnp.sum(weight_B1 * drawn.motion_span_BM) * live,
    }


def loss_sums(
    model_apply: Callable[..., tuple[Array, Array]],
    params: Any,
    drawn: Draw,
    batch: Mapping[str, Array],
    live_mouth_D: Bool[Array, "D"] | None = None,
    dropout_keys_B: Key[Array, "B"] | None = None,
) -> dict[str, Float[Array, ""]]:
    """Squared error of each stream's velocity, summed over the elements that `counts` counts.

    Args:
      model_apply: `JamFlow(config).apply`, or anything with its signature.
      params: {"audio": ..., "motion": ...}.
      drawn: from `draw`.
      batch: the loader's batch.
      live_mouth_D: dimensions that move at all; the others are left out. None: all.
      dropout_keys_B: passed on to the model; None switches dropout off.
    """
    mel, mouth = jnp.asarray(batch["mel"], jnp.float32), jnp.asarray(batch["mouth"], jnp.float32)
    arguments = states.model_arguments(
        conditions(drawn, batch),
        path.interpolate(drawn.audio_noise_BTF, mel, drawn.audio_time_B),
        path.interpolate(drawn.motion_noise_BMD, mouth, drawn.motion_time_B),
        drawn.audio_time_B,
        drawn.motion_time_B,
    )
    v_audio, v_motion = model_apply({"params": params}, **arguments, dropout_keys_B=dropout_keys_B)
    live_D = jnp.ones(mouth.shape[-1], bool) if live_mouth_D is None else jnp.asarray(live_mouth_D)
    weight_B = jnp.asarray(batch["weight"], jnp.float32)
    target_audio, target_motion = path.velocity(drawn.audio_noise_BTF, mel), path.velocity(drawn.motion_noise_BMD, mouth)
    return {
        "audio": _squared_error(v_audio, target_audio, drawn.audio_span_BT[..., None], weight_B),
        "motion": _squared_error(v_motion, target_motion, drawn.motion_span_BM[..., None] & live_D, weight_B),
    }


def mean_losses(sums: Mapping[str, Array], numbers: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
    """Each stream's L_s (2); 0 for a stream that nothing of was hidden."""
    return {name: sums[name] / jnp.maximum(numbers[name], 1) for name in ("audio", "motion")}


def total(config: ObjectiveConfig, losses: Mapping[str, Array]) -> Float[Array, ""]:
    """The weighted sum (1) of the streams' losses."""
    return config.audio_weight * losses["audio"] + config.motion_weight * losses["motion"]


def _squared_error(v, target, mask, weight_B):
    if v is None:
        return jnp.float32(0)
    error = jnp.where(mask, v.astype(jnp.float32) - target, 0)
    return jnp.sum(weight_B * jnp.sum(jnp.square(error), axis=(1, 2)))
