"""What a stream is to the model: generated, given or absent; and how conditions are dropped. Training and sampling share this.

    state       x fed to the model     context            time   its keys, for the other stream   loss
    GENERATED   x_t, noisy             its known frames   t      seen                             on the hidden span
    GIVEN       the clean frames       the clean frames   1      seen                             none
    ABSENT      zeros                  zeros              0      masked (alpha = 0)               none

Dropping a condition takes away everything the model could read it from:

    text     the ids become 0 and the length stays, as F5-TTS's unconditional branch does (a text that is all -1 is no text at all)
    audio    GIVEN -> ABSENT: zeroing only the context of a clean stream would leave x = x_1 in sight;
             GENERATED -> its context becomes zero
    motion   likewise, and absent motion takes e_rest with it
    rest     e_rest becomes zero

Stage 1 has no audio stream: speech features stand for given audio, and dropping audio (or its absence) zeroes them.
"""
from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jamflow_jax.model.jamflow import AudioInputs, MotionInputs

GENERATED, GIVEN, ABSENT = 0, 1, 2


@flax.struct.dataclass
class Conditions:
    """Everything the model is told, apart from x_t and t. All that is unknown or padding is zero (text: -1)."""

    audio_state_B: Int[Array, "B"]
    motion_state_B: Int[Array, "B"]
    audio_context_BTF: Float[Array, "B T F"]  # log-mel at the known frames; of a GIVEN stream: all of it
    motion_context_BMD: Float[Array, "B M D"]  # normalised mouth at the known frames
    text_BN: Int[Array, "B N"]
    drop_text_B: Bool[Array, "B"]
    rest_BMR: Float[Array, "B M R"]
    length_B: Int[Array, "B"]  # mel frames
    speech_BMS: Float[Array, "B M S"] | None = None  # stage 1 only


def dropped_state(state_B: Int[Array, "B"], drop_B: Bool[Array, "B"] | bool) -> Int[Array, "B"]:
    """A given stream that is dropped is absent; a generated one stays generated."""
    return jnp.where(jnp.asarray(drop_B) & (state_B == GIVEN), ABSENT, state_B)


def drop(conditions: Conditions, *, text=False, audio=False, motion=False, rest=False) -> Conditions:
    """Takes conditions away. Every flag is a bool or an array [B] of them; dropping twice is dropping once."""
    c = conditions
    motion_state_B = dropped_state(c.motion_state_B, motion)
    return c.replace(
        audio_state_B=dropped_state(c.audio_state_B, audio),
        motion_state_B=motion_state_B,
        audio_context_BTF=_zero(audio, c.audio_context_BTF),
        motion_context_BMD=_zero(motion, c.motion_context_BMD),
        drop_text_B=c.drop_text_B | text,
        rest_BMR=_zero(rest | (motion_state_B == ABSENT), c.rest_BMR),
        speech_BMS=None if c.speech_BMS is None else _zero(audio, c.speech_BMS),
    )


def model_arguments(
    conditions: Conditions,
    x_audio_BTF: Float[Array, "B T F"],
    x_motion_BMD: Float[Array, "B M D"],
    time_audio_B: Float[Array, "B"],
    time_motion_B: Float[Array, "B"],
) -> dict[str, Any]:
    """The keyword arguments of `JamFlow.apply` for streams at x_t: the table above, row by row.

    x and time count for GENERATED streams only; whatever they hold for the others is replaced.
    """
    c = conditions
    no_audio_B, no_motion_B = c.audio_state_B == ABSENT, c.motion_state_B == ABSENT
    audio = AudioInputs(
        x_BTF=by_state(c.audio_state_B, x_audio_BTF, c.audio_context_BTF),
        context_BTF=_zero(no_audio_B, c.audio_context_BTF),
        text_BN=jnp.where(no_audio_B[:, None], -1, c.text_BN),
        time_B=by_state(c.audio_state_B, time_audio_B, jnp.ones_like(time_audio_B)),
        drop_text_B=c.drop_text_B,
    )
    motion = MotionInputs(
        x_BMD=by_state(c.motion_state_B, x_motion_BMD, c.motion_context_BMD),
        context_BMD=_zero(no_motion_B, c.motion_context_BMD),
        rest_BMR=_zero(no_motion_B, c.rest_BMR),
        time_B=by_state(c.motion_state_B, time_motion_B, jnp.ones_like(time_motion_B)),
        speech_BMS=c.speech_BMS,
    )
    return {
        "audio": audio,
        "motion": motion,
        "length_B": c.length_B,
        "joint_audio_B": ~no_motion_B,
        "joint_motion_B": ~no_audio_B,
    }


def by_state(state_B: Int[Array, "B"], generated: Array, given: Array, absent: Array | float = 0) -> Array:
    """`generated`, `given` or `absent`, example by example."""
    state = state_B.reshape(-1, *[1] * (jnp.ndim(generated) - 1))
    return jnp.where(state == GENERATED, generated, jnp.where(state == GIVEN, given, absent))


def _zero(where_B, values):
    """`values` with the marked examples set to zero; the mark is a bool or an array [B]."""
    where = jnp.broadcast_to(jnp.asarray(where_B), values.shape[:1])
    return jnp.where(where.reshape(-1, *[1] * (values.ndim - 1)), 0, values)
