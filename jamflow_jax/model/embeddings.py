"""Time, text and input embeddings of F5-TTS (`TimestepEmbedding`, `TextEmbedding`, `InputEmbedding` there).

    time    arg = 1000 t exp(-ln(1e4) i / 127), i < 128;  [sin arg, cos arg] -> Linear -> SiLU -> Linear
    text    table[id + 1] + absolute positions -> ConvNeXt-V2 blocks; row 0 is the filler that fills up to the mel length
    input   Linear([noisy x; context; ...]) then x + ConvPos(x), ConvPos = 2 x (grouped conv of width 31 -> Mish)

Traps, each of which costs parity:
  * 127 = half - 1, not half.
  * The text blocks use the exact GELU, the transformer's feed-forward the tanh form.
  * The mask of the text is taken before dropped text is zeroed: "no text" still tells its length. F5-TTS's unconditional branch
    is trained so.
  * GRN sums over time, and positions past the end are not zero inside a block (bias): the sum stops at each example's length, or
    a padded example differs from the same example alone. v0, which masks no text, must in addition zero them before each block.

Fillers are zero before every text block, so that behind the text a block gives one and the same vector at each: only GRN's sum
needs it, as many times as there are fillers, and the blocks run over the text and one position that stands for all behind it.
"""
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from jamflow_jax.model.config import AudioConfig
from jamflow_jax.model.layers import AffineLayerNorm, Conv1d, Linear, constrain, named

NARROW = 3  # text of characters in the first third of the frames, as good as all speech, is worked on there alone
BEHIND = 4  # positions of fillers that must be left there: half a convolution, and the one that stands for all further ones


class TimeEmbedding(nn.Module):
    """Flow time [B] in [0, 1] -> embedding [B, D], computed in float32 up to the first Linear."""

    width: int
    dtype: str

    @nn.compact
    def __call__(self, time_B: Float[Array, "B"]) -> Float[Array, "B D"]:
        half = 128
        frequency = jnp.exp(-jnp.log(10_000.0) / (half - 1) * jnp.arange(half, dtype=jnp.float32))
        angle = 1000.0 * time_B.astype(jnp.float32)[:, None] * frequency[None]
        wave = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
        hidden = nn.silu(Linear(self.width, (None, "embed"), self.dtype, name="in")(wave))
        return constrain(Linear(self.width, ("embed", None), self.dtype, name="out")(hidden), "batch", "act_embed")


class ConvNeXtV2Block(nn.Module):
    """Depthwise conv 7 -> LayerNorm -> Linear x2 -> GELU(erf) -> GRN over time -> Linear, residual."""

    width: int
    dtype: str

    @nn.compact
    def __call__(self, x_BTC: Float[Array, "B T C"], weight_BT: Float[Array, "B T"] | None) -> Float[Array, "B T C"]:
        """`weight_BT`: how often a position counts in GRN's sum; None: once."""
        hidden = self.width * 2
        y = Conv1d(self.width, 7, self.width, "text", self.dtype, name="depthwise")(x_BTC)
        y = AffineLayerNorm("text", self.dtype, name="norm")(y)
        y = gelu(Linear(hidden, ("text", "text_mlp"), self.dtype, name="in")(y))
        gamma = self.param("grn_gamma", named(nn.initializers.zeros, "text_mlp"), (hidden,))
        beta = self.param("grn_beta", named(nn.initializers.zeros, "text_mlp"), (hidden,))
        square = jnp.square(y.astype(jnp.float32))
        if weight_BT is not None:
            square = square * weight_BT[:, :, None]
        # the root's slope is infinite at zero, which a wholly dropped text reaches
        energy = square.sum(axis=1, keepdims=True)
        norm = jnp.where(energy > 0, jnp.sqrt(jnp.where(energy > 0, energy, 1)), 0)
        scaled = norm / (norm.mean(axis=-1, keepdims=True) + 1e-6)
        y = constrain((gamma * (y * scaled) + beta + y).astype(self.dtype), "batch", "time", "text_mlp")
        return x_BTC + Linear(self.width, ("text_mlp", "text"), self.dtype, name="out")(y)


class TextEmbedding(nn.Module):
    """Text ids -> one vector per mel frame; the characters stand at the front, fillers behind."""

    config: AudioConfig

    @nn.compact
    def __call__(
        self,
        text_BN: Int[Array, "B N"],
        frames: int,
        length_B: Int[Array, "B"] | None = None,
        drop_B: Bool[Array, "B"] | bool = False,
    ) -> Float[Array, "B T C"]:
        """Args:
          text_BN: 0-based ids, -1 padding.
          frames: T, the length text is cut or padded to.
          length_B: valid mel frames of each example; text beyond them is cut, as it is when the example runs alone.
          drop_B: where True ids are zeroed and the text's length is kept (F5-TTS's unconditional branch).
        """
        config, width = self.config, self.config.text_width
        ids_BT = jnp.pad(text_BN[:, :frames] + 1, ((0, 0), (0, max(0, frames - text_BN.shape[1]))))
        within_BT = None if length_B is None else jnp.arange(frames)[None] < length_B[:, None]
        if within_BT is not None:
            ids_BT = jnp.where(within_BT, ids_BT, 0)
        keep_BT = ids_BT != 0 if config.text_mask_padding else within_BT
        ids_BT = jnp.where(jnp.reshape(drop_B, (-1, 1)), 0, ids_BT)

        table = self.param("table", named(nn.initializers.normal(1.0), "vocab", "text"), (config.text_vocab + 1, width))
        # not `gathered`: its gradient, asked for cut, would have every device see all examples' text to scatter into its columns
        table = constrain(table.astype(config.dtype), None, None)
        weight_BT = None if config.grn_over_padding or within_BT is None else within_BT.astype(jnp.float32)

        def encode(_, ids_BT, keep_BT, weight_BT):
            x_BTC = table[ids_BT] + _absolute_positions(ids_BT.shape[1], width).astype(config.dtype)
            x_BTC = _zero_outside(x_BTC, keep_BT)
            for i in range(config.text_layers):
                block = ConvNeXtV2Block(width, config.dtype, name=f"block_{i}")
                x_BTC = _zero_outside(block(x_BTC, weight_BT), keep_BT)
            return x_BTC

        short = frames // NARROW
        if not config.text_mask_padding or short <= BEHIND or self.is_initializing():
            x_BTC = encode(self, ids_BT, keep_BT, weight_BT)
        else:

            def encode_front(module, ids_BT, keep_BT, weight_BT):
                weight_BT = jnp.ones(keep_BT.shape, jnp.float32) if weight_BT is None else weight_BT
                rest_B1 = weight_BT[:, short - 1:].sum(1, keepdims=True)
                weight_BT = jnp.concatenate([weight_BT[:, : short - 1], rest_B1], axis=1)
                x_BTC = encode(module, ids_BT[:, :short], keep_BT[:, :short], weight_BT)
                return jnp.pad(x_BTC, ((0, 0), (0, frames - short), (0, 0)))

            # recomputed in the backward pass, or the branch taken would fill the residuals of the other one with zeros
            fits, branches = ~keep_BT[:, short - BEHIND:].any(), map(nn.remat, (encode_front, encode))
            x_BTC = nn.cond(fits, *branches, self, ids_BT, keep_BT, weight_BT)
        return constrain(x_BTC, "batch", "time", "act_embed")


class InputEmbedding(nn.Module):
    """Concatenated per-frame inputs -> model width, with a convolutional position embedding."""

    width: int
    dtype: str

    @nn.compact
    def __call__(self, parts: list[Float[Array, "B T C"]], valid_BT: Bool[Array, "B T"] | None) -> Float[Array, "B T D"]:
        joined = jnp.concatenate([part.astype(self.dtype) for part in parts], axis=-1)
        x_BTD = Linear(self.width, (None, "embed"), self.dtype, name="proj")(joined)
        y_BTD = _zero_outside(x_BTD, valid_BT)
        for i in range(2):
            y_BTD = Conv1d(self.width, 31, 16, "embed", self.dtype, name=f"conv_{i}")(y_BTD)
            y_BTD = mish(_zero_outside(y_BTD, valid_BT))
        return constrain(x_BTD + y_BTD, "batch", "time", "act_embed")


def gelu(x: Array) -> Array:
    """x (1 + erf(x / sqrt 2)) / 2, as PyTorch has it.

    Not `jax.nn.gelu`, which takes erfc: two polynomials, an exponential and two divisions, of which the TPU's compiler writes one
    copy into every product beside it. In float32, as all its users' rows are.
    """
    return x * (0.5 + 0.5 * jax.lax.erf(x * 0.5**0.5))


def mish(x: Array) -> Array:
    """x tanh(log(1 + e^x)) = x n / (n + 2), n = e^x (e^x + 2): one exponential instead of three functions. In float32."""
    e = jnp.exp(jnp.minimum(x.astype(jnp.float32), 20.0))  # beyond, the quotient is 1
    n = e * (e + 2)
    return (x * (n / (n + 2))).astype(x.dtype)


def _absolute_positions(frames: int, width: int) -> Float[Array, "1 T C"]:
    """[cos, sin] of position / 1e4^(2i / width), 8,192 rows in F5-TTS: later frames repeat the last row there."""
    frequency = 10_000.0 ** (-jnp.arange(0, width, 2, dtype=jnp.float32)[: width // 2] / width)
    position = jnp.minimum(jnp.arange(frames), 8191).astype(jnp.float32)
    angle = position[:, None] * frequency[None]
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)[None]


def _zero_outside(x_BTD: Array, keep_BT: Array | None) -> Array:
    return x_BTD if keep_BT is None else jnp.where(keep_BT[:, :, None], x_BTD, 0)
