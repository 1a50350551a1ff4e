"""JamFlow: Audio-DiT and Motion-DiT joined by attention in some of their layers (JAM-Flow, section 3 and Algorithms 1, 2).

A joint layer keeps each stream's own adaLN, QKV, output and feed-forward; only attention is shared, so the model has the
parameters of its two streams and no others, and with every alpha off its audio stream *is* Audio-DiT.
"""
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jamflow_jax.model.backends import BACKENDS
from jamflow_jax.model.blocks import Layer, Modulation, apply_layers, cut, layer_keys
from jamflow_jax.model.config import JamFlowConfig
from jamflow_jax.model.streams import AudioDiT, MotionDiT


@struct.dataclass
class AudioInputs:
    """Inputs of the audio stream; the context is already zero where it is unknown.

    A sampler, which calls the model many times over, may put what `JamFlow.encode_text` and `JamFlow.modulations` gave in the
    places of text and time.
    """

    x_BTF: Float[Array, "B T F"]
    context_BTF: Float[Array, "B T F"]
    text_BN: Int[Array, "B N"] | Float[Array, "B T C"]
    time_B: Float[Array, "B"] | Modulation
    drop_text_B: Bool[Array, "B"] | bool = False


@struct.dataclass
class MotionInputs:
    """Inputs of the motion stream, normalised; context and rest are zero where they are unknown."""

    x_BMD: Float[Array, "B M D"]
    context_BMD: Float[Array, "B M D"]
    rest_BMR: Float[Array, "B M R"]
    time_B: Float[Array, "B"] | Modulation
    speech_BMS: Float[Array, "B M S"] | None = None


class JamFlow(nn.Module):
    """Both streams; `audio=None` or `motion=None` runs the other alone and costs nothing for the missing one."""

    config: JamFlowConfig

    def setup(self):
        self.audio = AudioDiT(self.config.audio)
        self.motion = MotionDiT(self.config.motion)

    def modulations(self, time_N: Float[Array, "N"], streams: Sequence[str] = ("audio", "motion")) -> dict[str, Modulation]:
        """A row for each flow time: what the named streams make of it, in all layers. `Modulation.rows` picks those of a batch."""
        return {name: getattr(self, name).modulation(time_N) for name in streams}

    def encode_text(self, text_BN, frames: int, length_B=None, drop_text_B: Bool[Array, "B"] | bool = False):
        """Text as the audio stream takes it in [B, T, C], the same at every flow time."""
        return self.audio.text(text_BN, frames, length_B, drop_text_B)

    def __call__(
        self,
        audio: AudioInputs | None,
        motion: MotionInputs | None,
        length_B: Int[Array, "B"] | None = None,
        joint_audio_B: Bool[Array, "B"] | None = None,
        joint_motion_B: Bool[Array, "B"] | None = None,
        dropout_keys_B: Array | None = None,
    ) -> tuple[Float[Array, "B T F"] | None, Float[Array, "B M D"] | None]:
        """Velocities of log-mel and mouth dimensions.

        Args:
          audio, motion: the streams' inputs.
          length_B: valid mel frames of each example; motion frames follow. None: all.
          joint_audio_B: alpha of the audio stream: do audio rows see motion keys (False where motion is absent)?
          joint_motion_B: alpha of the motion stream.
          dropout_keys_B: one key per example in training.

        Returns:
          velocities [B, T, F] and [B, M, D], float32, zero past each example's end; None for a missing stream.
        """
        key_a, key_m = (None, None) if dropout_keys_B is None else _fork(dropout_keys_B)
        if audio is not None:
            x_a, time_a, table_a, valid_a = self.audio.embed(
                audio.x_BTF, audio.context_BTF, audio.text_BN, audio.time_B, length_B, audio.drop_text_B)
        if motion is not None:
            x_m, time_m, table_m, valid_m = self.motion.embed(
                motion.x_BMD, motion.context_BMD, motion.rest_BMR, motion.time_B, motion.speech_BMS, length_B,
                None if audio is None else audio.x_BTF.shape[1])
        if motion is None:
            return self.audio.head(self.audio.advance(x_a, time_a, table_a, valid_a, key_a), time_a, x_a, valid_a), None
        if audio is None:
            return None, self.motion.head(self.motion.advance(x_m, time_m, table_m, valid_m, key_m), time_m, x_m, valid_m)

        c = self.config
        joint_attention = BACKENDS[c.audio.attention].joint_attention

        def joint_layer(carry, parts, index):
            x_a, x_m = carry
            layer_a, layer_m = Layer(c.audio, parts[0], time_a), Layer(c.motion, parts[1], time_m)
            qkv_a, qkv_m = layer_a.before(x_a, table_a), layer_m.before(x_m, table_m)
            o_a, o_m = joint_attention(qkv_a, qkv_m, c.windows, length_B, joint_audio_B, joint_motion_B)
            return layer_a.after(x_a, o_a, layer_keys(key_a, index)), layer_m.after(x_m, o_m, layer_keys(key_m, index))

        embedded_a, embedded_m = x_a, x_m
        runs = segments(c.joint, c.audio.depth)
        stacks = cut((self.audio.stack(time_a), self.motion.stack(time_m)), [stop - start for _, start, stop in runs])
        for (joined, start, _), (stack_a, stack_m) in zip(runs, stacks):
            if joined:
                x_a, x_m = apply_layers(c.audio, joint_layer, (x_a, x_m), (stack_a, stack_m), start)
            else:
                x_a = self.audio.advance(x_a, time_a, table_a, valid_a, key_a, stack_a, start)
                x_m = self.motion.advance(x_m, time_m, table_m, valid_m, key_m, stack_m, start)
        return self.audio.head(x_a, time_a, embedded_a, valid_a), self.motion.head(x_m, time_m, embedded_m, valid_m)


def segments(joint: tuple[int, ...], depth: int) -> list[tuple[bool, int, int]]:
    """Runs of like layers: (joined?, start, stop)."""
    runs = []
    for joined, group in itertools.groupby(range(depth), key=lambda i: i in joint):
        layers = list(group)
        runs.append((joined, layers[0], layers[-1] + 1))
    return runs


def init(config: JamFlowConfig, key: Array):
    """Fresh parameters {"audio": ..., "motion": ...}, each leaf boxed with its logical axis names (`flax.linen.unbox` strips)."""
    key_audio, key_motion = jax.random.split(key)
    return {"audio": init_audio(config.audio, key_audio), "motion": init_motion(config.motion, key_motion)}


def init_audio(config, key: Array):
    """Fresh parameters of an AudioDiT, boxed."""
    x_BTF, text_BN = jnp.zeros((1, 1, config.mel_dim)), jnp.zeros((1, 1), jnp.int32)
    return AudioDiT(config).init(key, x_BTF, x_BTF, text_BN, jnp.zeros((1,)))["params"]


def init_motion(config, key: Array):
    """Fresh parameters of a MotionDiT, boxed."""
    x_BMD, rest_BMR = jnp.zeros((1, 1, config.mouth_dim)), jnp.zeros((1, 1, config.rest_dim))
    return MotionDiT(config).init(key, x_BMD, x_BMD, rest_BMR, jnp.zeros((1,)))["params"]


def _fork(keys_B):
    """Keys of the audio and of the motion stream."""
    return tuple(jax.vmap(jax.random.fold_in, (0, None))(keys_B, stream) for stream in (0, 1))
