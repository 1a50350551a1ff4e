"""What one training step hides, drops and draws: a pure function of (seed, step, example), example by example.

    (1)  key = fold_in(fold_in(key(seed), step), example_id);  every draw below takes its own fold_in(key, role)
    (2)  hidden streams: both, motion only or audio only; a stream that is not hidden is given, one that is not there is absent,
         and the only stream of an example is generated
    (3)  span of n frames: k = max(1, floor(n u)), u ~ U(low, high), first frame uniform in 0 .. n - k
    (4)  drops: all at once, else each by itself; of the dropped texts some are removed, the others keep their length
    (5)  t ~ U(0, 1) per stream; in some of the both-generated examples one t for both

No draw depends on the batch, on the host or on padding: a longer bucket repeats the same draws (noise is drawn per frame).
"""
from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jamflow_jax import timeline
from jamflow_jax.flow import path
from jamflow_jax.flow.config import ObjectiveConfig
from jamflow_jax.flow.states import ABSENT, GENERATED, GIVEN, dropped_state

# A role is its position: part of the reproducibility contract. Append, never reorder.
_ROLES = (
    "hide", "audio_time", "motion_time", "share_time", "drop_all", "drop_audio", "drop_motion", "drop_text", "drop_rest",
    "text_absent", "audio_short", "audio_size", "audio_place", "motion_short", "motion_size", "motion_place",
    "audio_noise", "motion_noise",
)


@flax.struct.dataclass
class Draw:
    """The draws of one batch. States are what the drops have left of them."""

    audio_state_B: Int[Array, "B"]
    motion_state_B: Int[Array, "B"]
    audio_span_BT: Bool[Array, "B T"]  # hidden frames, within the length; all False unless generated
    motion_span_BM: Bool[Array, "B M"]
    audio_time_B: Float[Array, "B"]  # of the generated stream
    motion_time_B: Float[Array, "B"]
    audio_noise_BTF: Float[Array, "B T F"]
    motion_noise_BMD: Float[Array, "B M D"]
    drop_audio_B: Bool[Array, "B"]
    drop_motion_B: Bool[Array, "B"]
    drop_text_B: Bool[Array, "B"]  # ids become 0, the length stays
    text_absent_B: Bool[Array, "B"]  # the text is removed
    drop_rest_B: Bool[Array, "B"]


def example_keys(seed: int | Int[Array, ""], step: int | Int[Array, ""], example_id_B: Int[Array, "B"]) -> Key[Array, "B"]:
    """The key (1) of every example. Evaluation passes a constant step, so that its losses are comparable over a run."""
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), step)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(example_id_B))


def draw(config: ObjectiveConfig, keys_B: Key[Array, "B"], batch: Mapping[str, Array]) -> Draw:
    """Draws (2) to (5) and the noise for a batch.

    Args:
      config: probabilities and ranges.
      keys_B: from `example_keys`.
      batch: needs `mel` [B, T, F], `mouth` [B, M, D], `length` [B] in mel frames, `has_audio` and `has_motion` [B].
    """
    (_, T, F), (_, M, D) = batch["mel"].shape, batch["mouth"].shape
    each_role = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    keys_BR = each_role(keys_B, jnp.arange(len(_ROLES)))
    key = {name: keys_BR[:, i] for i, name in enumerate(_ROLES)}
    u_BR = jax.vmap(jax.vmap(jax.random.uniform))(keys_BR)
    u = {name: u_BR[:, i] for i, name in enumerate(_ROLES)}

    has_audio_B, has_motion_B = jnp.asarray(batch["has_audio"]), jnp.asarray(batch["has_motion"])
    audio_state_B, motion_state_B = _hidden(config, u["hide"], has_audio_B, has_motion_B)
    generated_audio_B, generated_motion_B = audio_state_B == GENERATED, motion_state_B == GENERATED

    drop_all_B = u["drop_all"] < config.drop_all
    drop_audio_B, drop_motion_B, no_text_B, drop_rest_B = (
        drop_all_B | (u[name] < getattr(config, name)) for name in ("drop_audio", "drop_motion", "drop_text", "drop_rest")
    )
    text_absent_B = no_text_B & (u["text_absent"] < config.text_absent_share)
    shared_B = generated_audio_B & generated_motion_B
    if config.independent_times:
        shared_B &= u["share_time"] < config.shared_time_prob

    length_B = jnp.asarray(batch["length"])
    audio_span_BT = _spans(config, u["audio_short"], u["audio_size"], u["audio_place"], length_B, T)
    motion_span_BM = _spans(
        config, u["motion_short"], u["motion_size"], u["motion_place"], timeline.motion_frames(length_B), M
    )
    return Draw(
        audio_state_B=dropped_state(audio_state_B, drop_audio_B),
        motion_state_B=dropped_state(motion_state_B, drop_motion_B),
        audio_span_BT=audio_span_BT & generated_audio_B[:, None],
        motion_span_BM=motion_span_BM & generated_motion_B[:, None],
        audio_time_B=u["audio_time"],
        motion_time_B=jnp.where(shared_B, u["audio_time"], u["motion_time"]),
        audio_noise_BTF=path.noise(key["audio_noise"], T, F),
        motion_noise_BMD=path.noise(key["motion_noise"], M, D),
        drop_audio_B=drop_audio_B,
        drop_motion_B=drop_motion_B,
        drop_text_B=no_text_B & ~text_absent_B,
        text_absent_B=text_absent_B,
        drop_rest_B=drop_rest_B,
    )


def _hidden(config, u_B, has_audio_B, has_motion_B):
    """States (2) before any drop."""
    both, motion_only, _ = config.hide_probs
    hide_audio_B = (u_B < both) | (u_B >= both + motion_only) | ~has_motion_B
    hide_motion_B = (u_B < both + motion_only) | ~has_audio_B

    def state(has_B, hide_B):
        return jnp.where(has_B, jnp.where(hide_B, GENERATED, GIVEN), ABSENT)

    return state(has_audio_B, hide_audio_B), state(has_motion_B, hide_motion_B)


def _spans(config, short_B, size_B, place_B, length_B, frames):
    """Spans (3) from three uniform draws each, as masks [B, frames]."""
    (low, high), (short_low, short_high) = config.span, config.short_span
    fraction_B = jnp.where(
        short_B < config.short_span_prob, short_low + (short_high - short_low) * size_B, low + (high - low) * size_B
    )
    k_B = jnp.clip(jnp.floor(length_B * fraction_B).astype(jnp.int32), 1, None)
    last_B = length_B - k_B
    start_B = jnp.minimum(jnp.floor((last_B + 1) * place_B).astype(jnp.int32), last_B)
    frame, start_B1 = jnp.arange(frames), start_B[:, None]
    return (frame >= start_B1) & (frame < start_B1 + k_B[:, None]) & (frame < length_B[:, None])
