"""The two streams: Audio-DiT, which is F5-TTS's DiT, and Motion-DiT, the same trunk over motion frames.

    embed -> layers 0..depth-1 -> [concat skip, Linear] -> LN (1 + scale) + shift -> Linear

Each is a model of its own (F5-TTS; stage 1 of JAM-Flow) and half of a JamFlow: `embed`, `advance` over any range of layers and
`head` are public for that. The last adaLN splits into scale, shift: the opposite order to the blocks.
"""
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from jamflow_jax.model.attention import valid_frames
from jamflow_jax.model.backends import BACKENDS
from jamflow_jax.model.blocks import Layer, Modulation, Stack, apply_layers, layer_keys, modulate
from jamflow_jax.model.config import AudioConfig, MotionConfig, TrunkConfig
from jamflow_jax.model.embeddings import InputEmbedding, TextEmbedding, TimeEmbedding
from jamflow_jax.model.layers import Linear, constrain
from jamflow_jax.model.rope import Rope, audio_positions, motion_positions, rope
from jamflow_jax.timeline import MEL_TICKS, MOTION_TICKS, motion_frames


class Hidden(nn.Module):
    """What is common to both streams once their inputs are embedded."""

    config: TrunkConfig

    def setup(self):
        c = self.config
        self.time = TimeEmbedding(c.width, c.dtype)
        self.input = InputEmbedding(c.width, c.dtype)
        self.stack = Stack(c)
        if c.long_skip:
            self.skip = Linear(c.width, (None, "embed"), c.dtype, bias=False)
        self.norm_out = Linear(2 * c.width, ("embed", "adaln"), c.dtype, zero=True)
        self.proj_out = Linear(self.out_dim, ("embed", None), "float32", zero=True)

    def modulation(self, time_B: Float[Array, "B"]) -> Modulation:
        """All that the stream makes of flow time: given to `embed` in its place, it is not computed again."""
        emb_BD = self.time(time_B)
        return Modulation(self.stack.adaln(emb_BD), self.norm_out(nn.silu(emb_BD)))

    def embed_time(self, time: Array | Modulation) -> Array | Modulation:
        """Flow time [B] -> embedding [B, D]; a Modulation as it is. `advance` and `head` take either."""
        return time if isinstance(time, Modulation) else self.time(time)

    def advance(self, x_BTD, time: Array | Modulation, table: Rope, valid_BT, keys_B=None, stack=None, start: int = 0):
        """Applies all layers, or the run `stack` of them that begins with layer `start`, with attention within the stream."""
        self_attention = BACKENDS[self.config.attention].self_attention

        def apply(x_BTD, parts, index):
            layer = Layer(self.config, parts, time)
            o_BTHK = self_attention(layer.before(x_BTD, table), valid_BT, self.window, self.ticks)
            return layer.after(x_BTD, o_BTHK, layer_keys(keys_B, index))

        return apply_layers(self.config, apply, x_BTD, self.stack(time) if stack is None else stack, start)

    def head(self, x_BTD, time: Array | Modulation, embedded_BTD, valid_BT):
        """Hidden states -> velocity, float32, zero past the end. `embedded_BTD` is what `embed` gave (for the long skip)."""
        if self.config.long_skip:
            x_BTD = self.skip(jnp.concatenate([x_BTD, embedded_BTD], axis=-1))
        head_BE = time.head_BE if isinstance(time, Modulation) else self.norm_out(nn.silu(time))
        scale, shift = jnp.split(head_BE[:, None, :], 2, axis=-1)
        v_BTF = constrain(self.proj_out(modulate(x_BTD, scale, shift, self.config.dtype)), "batch", "time", None)
        return v_BTF if valid_BT is None else jnp.where(valid_BT[:, :, None], v_BTF, 0.0)


class AudioDiT(Hidden):
    """F5-TTS's DiT (`f5_tts.model.backbones.dit.DiT`); v1 and v0 by config."""

    config: AudioConfig
    ticks = MEL_TICKS
    window = None

    @property
    def out_dim(self) -> int:
        return self.config.mel_dim

    def setup(self):
        super().setup()
        self.text = TextEmbedding(self.config)

    def embed(self, x_BTF, context_BTF, text, time: Array | Modulation, length_B=None, drop_text=False):
        """-> hidden states [B, T, D], time for `advance` and `head`, rotary table, valid [B, T] or None.

        `text` is ids [B, N], or what `self.text` made of them and of `drop_text`, [B, T, C].
        """
        frames = x_BTF.shape[1]
        valid_BT = valid_frames(length_B, frames)
        text_BTC = self.text(text, frames, length_B, drop_text) if text.ndim == 2 else text
        x_BTD = self.input([x_BTF, context_BTF, text_BTC], valid_BT)
        return x_BTD, self.embed_time(time), rope(audio_positions(frames), self.config.head_dim), valid_BT

    def __call__(
        self,
        x_BTF: Float[Array, "B T F"],
        cond_BTF: Float[Array, "B T F"],
        text_BN: Int[Array, "B N"],
        time_B: Float[Array, "B"],
        lengths_B: Int[Array, "B"] | None = None,
        drop_audio: Bool[Array, "B"] | bool = False,
        drop_text: Bool[Array, "B"] | bool = False,
        dropout_keys_B: Array | None = None,
    ) -> Float[Array, "B T F"]:
        """Velocity of the log-mel at flow time `time_B` (0 noise, 1 data).

        Args:
          x_BTF: noisy log-mel.
          cond_BTF: log-mel where it is known, zeros elsewhere.
          text_BN: 0-based character ids, -1 padding.
          time_B: flow time.
          lengths_B: valid frames; None: all, as F5-TTS runs a single example.
          drop_audio, drop_text: one boolean or one per example; the unconditional branches of guidance.
          dropout_keys_B: one key per example in training.
        """
        cond_BTF = jnp.where(jnp.reshape(drop_audio, (-1, 1, 1)), 0.0, cond_BTF)
        x, emb, table, valid = self.embed(x_BTF, cond_BTF, text_BN, time_B, lengths_B, drop_text)
        return self.head(self.advance(x, emb, table, valid, dropout_keys_B), emb, x, valid)


class MotionDiT(Hidden):
    """The motion stream, alone: stage 1 of JAM-Flow when it is given speech features."""

    config: MotionConfig
    ticks = MOTION_TICKS

    @property
    def out_dim(self) -> int:
        return self.config.mouth_dim

    @property
    def window(self):
        return self.config.window_seconds

    def embed(self, x_BMD, context_BMD, rest_BMR, time: Array | Modulation, speech_BMS=None, length_B=None, mel_frames=None):
        """-> hidden states [B, M, D], time for `advance` and `head`, rotary table, valid [B, M] or None."""
        c, frames = self.config, x_BMD.shape[1]
        valid_BM = valid_frames(None if length_B is None else motion_frames(length_B), frames)
        parts = [x_BMD, context_BMD, rest_BMR]
        if c.speech_dim:
            parts.append(jnp.zeros((*x_BMD.shape[:2], c.speech_dim)) if speech_BMS is None else speech_BMS)
        x_BMD = self.input(parts, valid_BM)
        table = rope(motion_positions(frames, c.rope_alignment, length_B, mel_frames), c.head_dim)
        return x_BMD, self.embed_time(time), table, valid_BM

    def __call__(
        self,
        x_BMD: Float[Array, "B M D"],
        context_BMD: Float[Array, "B M D"],
        rest_BMR: Float[Array, "B M R"],
        time_B: Float[Array, "B"],
        speech_BMS: Float[Array, "B M S"] | None = None,
        lengths_B: Int[Array, "B"] | None = None,
        dropout_keys_B: Array | None = None,
    ) -> Float[Array, "B M D"]:
        """Velocity of the normalised mouth dimensions at flow time `time_B`.

        Args:
          x_BMD: noisy mouth dimensions.
          context_BMD: mouth dimensions where they are known, zeros elsewhere.
          rest_BMR: the other dimensions, zeros when absent.
          time_B: flow time.
          speech_BMS: speech features per motion frame, when the config has `speech_dim`.
          lengths_B: valid MEL frames (the clock is one); None: all motion frames are valid.
          dropout_keys_B: one key per example in training.
        """
        x, emb, table, valid = self.embed(x_BMD, context_BMD, rest_BMR, time_B, speech_BMS, lengths_B)
        return self.head(self.advance(x, emb, table, valid, dropout_keys_B), emb, x, valid)
