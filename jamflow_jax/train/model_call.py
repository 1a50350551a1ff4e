"""What differs between the stages and between batches of one stream and of two, behind the one signature of `JamFlow.apply`.

Stage 1 trains Motion-DiT alone: speech enters as features of each motion frame, concatenated to its input, wherever the joint
model would let motion see audio (alpha = 1). Dropping audio thus means the same in both stages: zeros here, a mask there.
The features are the data set's (wav2vec2, HuBERT, ...) or the mel itself,

    speech_i = mean of the mel frames j whose tick 4 j lies in [15 i, 15 i + 15),   length permitting
"""
import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from jamflow_jax.flow.config import ObjectiveConfig
from jamflow_jax.model import JamFlow, MotionDiT
from jamflow_jax.timeline import MEL_TICKS, MOTION_TICKS, motion_frames
from jamflow_jax.train.config import RunConfig


def objective_config(config: RunConfig) -> ObjectiveConfig:
    """The run's objective; in stage 1 motion alone is hidden and alone counts."""
    if config.stage == 2:
        return config.objective
    return dataclasses.replace(config.objective, hide_probs=(0.0, 1.0, 0.0), audio_weight=0.0)


def visible(config: RunConfig, batch: dict[str, Array]) -> dict[str, Array]:
    """The batch as the stage sees it, in float32 (mel and speech features travel as they are stored, in float16): in stage 1
    examples without motion do not count, and audio is there where what stands for it is, the features or the mel."""
    batch = {**batch, **{name: jnp.asarray(batch[name], jnp.float32) for name in ("mel", "speech") if name in batch}}
    if config.stage == 2:
        return batch
    heard = batch["has_speech" if config.speech == "features" else "has_audio"]
    return {**batch, "weight": batch["weight"] * batch["has_motion"], "has_audio": heard}


def model_apply(config: RunConfig, batch: dict[str, Array], streams: tuple[str, ...]):
    """A function with the signature of `JamFlow(config).apply` that runs only what `streams` names, where that is the same.

    The velocity of a stream that is not run is zero: nothing of it is in the loss.
    """
    if config.stage == 1:
        return _stage_one(config, batch)
    model = JamFlow(config.model)
    if len(streams) == 1 and not config.model.runs_alone(streams[0]):
        streams = ("audio", "motion")

    def apply(variables, audio, motion, **rest):
        v_audio, v_motion = model.apply(
            variables, audio if "audio" in streams else None, motion if "motion" in streams else None, **rest
        )
        return (
            jnp.zeros_like(audio.x_BTF) if v_audio is None else v_audio,
            jnp.zeros_like(motion.x_BMD) if v_motion is None else v_motion,
        )

    return apply


def _stage_one(config: RunConfig, batch):
    model = MotionDiT(config.model.motion)

    def apply(variables, audio, motion, length_B, joint_audio_B, joint_motion_B, dropout_keys_B=None):
        frames = motion.x_BMD.shape[1]
        speech_BMS = mel_per_motion_frame(batch["mel"], batch["length"], frames) if config.speech == "mel" else batch["speech"]
        speech_BMS = jnp.where(joint_motion_B[:, None, None], speech_BMS, 0)
        v_motion = model.apply(
            {"params": variables["params"]["motion"]}, motion.x_BMD, motion.context_BMD, motion.rest_BMR, motion.time_B,
            speech_BMS, length_B, dropout_keys_B,
        )
        return jnp.zeros_like(audio.x_BTF), v_motion

    return apply


def mel_per_motion_frame(mel_BTF: Float[Array, "B T F"], length_B: Array, frames: int) -> Float[Array, "B M F"]:
    """Mel frames averaged over each motion frame's interval, within the example's length; zero where there is none."""
    tick_T = MEL_TICKS * jnp.arange(mel_BTF.shape[1])
    inside_MT = tick_T // MOTION_TICKS == jnp.arange(frames)[:, None]
    valid_BT = jnp.arange(mel_BTF.shape[1]) < length_B[:, None]
    share_BMT = (inside_MT & valid_BT[:, None]).astype(jnp.float32)
    share_BMT = share_BMT / jnp.maximum(share_BMT.sum(-1, keepdims=True), 1)
    assert frames == motion_frames(mel_BTF.shape[1]), "a bucket's motion frames follow from its mel frames"
    return jnp.einsum("bmt,btf->bmf", share_BMT, mel_BTF)
