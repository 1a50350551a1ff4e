"""One transformer layer, cut where attention goes in, and the stack of them.

    shift, scale, gate (attention), shift', scale', gate' (feed-forward) = Linear(SiLU(t))       adaLN-zero
    x += gate  * Linear(attention(q, k, v of LN(x) (1 + scale) + shift))
    x += gate' * FF(LN(x) (1 + scale') + shift'),   FF = Linear -> GELU(tanh) -> Linear

A layer is two methods, `before` (x -> rotated q, k, v) and `after` (attention output -> x), so that a joint layer can put one
attention over two streams between them and owns no parameter of its own. Its adaLN, two fifths of its parameters and one row per
example, is a third, `adaln`: a sampler, which knows all its times beforehand, calls it once for all (`Modulation`). The
parameters of all layers are stacked on a leading axis: a run of like layers is one `lax.scan`, or a loop over the same arrays.
"""
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from jamflow_jax.model.config import TrunkConfig
from jamflow_jax.model.layers import Linear, constrain, dropout, gathered, layer_norm, named, product, uniform_init
from jamflow_jax.model.rope import Rope, rotate

# What the backward pass keeps of a layer; "none" keeps all, the others recompute the rest. AdaLN's rows are kept by all: they are
# as small as one frame and cost reading, on many devices gathering, two fifths of the parameters again.
_CHECKPOINT_POLICIES = {
    "full": jax.checkpoint_policies.save_only_these_names("modulation"),
    "dots": jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims,
    "attention": jax.checkpoint_policies.save_only_these_names("modulation", "attention_output"),
}


@struct.dataclass
class Modulation:
    """AdaLN of all layers of a stream and of its head at some flow times: a row each, or one row for a whole batch."""

    layers_LBE: Float[Array, "L B 6D"]
    head_BE: Float[Array, "B 2D"]

    def rows(self, index_B: Int[Array, "B"]) -> "Modulation":
        """The rows of a batch, from a table of many times."""
        return Modulation(self.layers_LBE[:, index_B], self.head_BE[index_B])


class Block(nn.Module):
    """One layer of one stream."""

    config: TrunkConfig

    def setup(self):
        c = self.config
        self.modulation = Linear(6 * c.width, ("embed", "adaln"), c.dtype, zero=True)
        self.qkv = QKV(c)
        self.out = Linear(c.width, ("heads", "embed"), c.dtype)
        self.ff_in = Linear(c.ff_mult * c.width, ("embed", "mlp"), c.dtype)
        self.ff_out = Linear(c.width, ("mlp", "embed"), c.dtype)

    def adaln(self, emb_BD) -> Float[Array, "B 6D"]:
        """Time embedding -> shift, scale, gate of attention, then of the feed-forward."""
        return checkpoint_name(self.modulation(nn.silu(emb_BD)), "modulation")

    def before(self, x_BTD, modulation_BE, table: Rope):
        """-> (q, k, v) [B, T, H, K] with q and k rotated."""
        shift, scale = jnp.split(modulation_BE[:, None, :], 6, axis=-1)[:2]
        h_BTD = modulate(x_BTD, scale, shift, self.config.dtype)
        q, k, v = self.qkv(h_BTD)
        q, k = (rotate(part, table, self.config.rope_heads) for part in (q, k))
        k, v = (constrain(part, "batch", "keys", "heads", "head") for part in (k, v))  # whole on `sequence`
        return q, k, v

    def after(self, x_BTD, o_BTHK, modulation_BE, keys_B=None):
        """Residual of the attention output [B, T, H, K], then the feed-forward."""
        c = self.config
        gate, shift, scale, gate_ff = jnp.split(modulation_BE[:, None, :], 6, axis=-1)[2:]
        o_BTHK = checkpoint_name(constrain(o_BTHK, "batch", "time", "heads", "head"), "attention_output")
        key_attention, key_hidden = (None, None) if keys_B is None else _split(keys_B)
        o_BTD = self.out(o_BTHK.reshape(*o_BTHK.shape[:2], c.heads * c.head_dim))
        x_BTD = x_BTD + gate * dropout(o_BTD, key_attention, c.dropout)
        h_BTF = gelu_tanh(self.ff_in(modulate(x_BTD, scale, shift, c.dtype)))
        h_BTF = dropout(constrain(h_BTF, "batch", "time", "mlp"), key_hidden, c.dropout)
        x_BTD = x_BTD + gate_ff * self.ff_out(h_BTF)
        return constrain(x_BTD, "batch", "time", "act_embed")

    def __call__(self, x_BTD, emb_BD, table: Rope):
        """The layer with nothing attended to: only to initialise it."""
        modulation_BE = self.adaln(emb_BD)
        return self.after(x_BTD, self.before(x_BTD, modulation_BE, table)[2], modulation_BE)


class QKV(nn.Module):
    """Queries, keys and values from one fused matrix [D, H, 3K], optionally RMS-normalised per head (q and k).

    A head's three lie together, heads before them, so that the product is one of two plain matrices: cut over `tensor` it stays so,
    and with the three in front XLA on CPU turned the kernel round in every layer and its gradient back, a sixteenth of the step.
    """

    config: TrunkConfig

    @nn.compact
    def __call__(self, x_BTD):
        c = self.config
        shape, axes = (c.width, c.heads, 3 * c.head_dim), ("embed", "heads", "head")
        kernel = self.param("kernel", named(_qkv_init, *axes), shape)
        bias = self.param("bias", named(nn.initializers.zeros, *axes[1:]), shape[1:])
        qkv = _per_head(x_BTD.astype(c.dtype), gathered(kernel, *axes, dtype=c.dtype)) + bias.astype(c.dtype)
        q, k, v = jnp.split(constrain(qkv, "batch", "time", "heads", "head"), 3, axis=-1)
        if c.qk_norm == "rms_norm":
            q, k = (RMSNorm(name=name)(part) for name, part in (("q_norm", q), ("k_norm", k)))
        return q, k, v


class RMSNorm(nn.Module):
    """x / rms(x) * scale over the last axis, epsilon 1e-6, computed in float32."""

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", named(nn.initializers.ones, "head"), (x.shape[-1],))
        x32 = x.astype(jnp.float32)
        return (x32 * jax.lax.rsqrt((x32**2).mean(-1, keepdims=True) + 1e-6) * scale).astype(x.dtype)


class Stack(nn.Module):
    """The parameters of `depth` layers, stacked; `Stack.run` applies a range of them."""

    config: TrunkConfig

    def setup(self):
        self.layers = self.param("layers", self._init)

    def _init(self, key):
        c = self.config
        x_BTD, emb_BD = jnp.zeros((1, 1, c.width)), jnp.zeros((1, c.width))
        table = (jnp.ones((1, 1, c.head_dim)),) * 2
        stacked = jax.vmap(lambda k: Block(c, parent=None).init(k, x_BTD, emb_BD, table)["params"])(jax.random.split(key, c.depth))
        return jax.tree.map(
            lambda box: box.add_axis(0, {nn.PARTITION_NAME: "layers"}), stacked, is_leaf=lambda x: isinstance(x, nn.Partitioned)
        )

    def __call__(self, time: "Array | Modulation"):
        """What `Layer` takes of every layer, leading with the layer axis: parameters, and adaLN rows where those are known."""
        return self.layers, time.layers_LBE if isinstance(time, Modulation) else None

    def adaln(self, emb_BD) -> Float[Array, "L B 6D"]:
        """`Block.adaln` of all layers."""
        block = Block(self.config, parent=None)
        # not vmap, for which XLA on CPUs first turns the matrices of all layers round, two fifths of the parameters
        return jax.lax.map(lambda params: block.apply({"params": params}, emb_BD, method="adaln"), self.layers)


class Layer:
    """A `Block` with its share of a stack and of the time: embedded [B, D], or a Modulation whose rows the stack carries."""

    def __init__(self, config: TrunkConfig, parts, time: "Array | Modulation"):
        self.block, (params, modulation_BE) = Block(config, parent=None), parts
        self.variables = {"params": params}
        self.modulation_BE = self.block.apply(self.variables, time, method="adaln") if modulation_BE is None else modulation_BE

    def before(self, x_BTD, table: Rope):
        """`Block.before`."""
        return self.block.apply(self.variables, x_BTD, self.modulation_BE, table, method="before")

    def after(self, x_BTD, o_BTHK, keys_B=None):
        """`Block.after`."""
        return self.block.apply(self.variables, x_BTD, o_BTHK, self.modulation_BE, keys_B, method="after")


def cut(stacks, sizes: Sequence[int]) -> list:
    """What `Stack` gives, or several of them in a tuple, in runs of so many layers.

    Not a[i:j]: the gradients of a split are put side by side, those of slices are added up, each as long as the stack.
    """
    leaves, tree = jax.tree.flatten(stacks)
    return [jax.tree.unflatten(tree, parts) for parts in zip(*(jax.lax.split(leaf, sizes) for leaf in leaves))]


def apply_layers(config: TrunkConfig, layer: Callable, carry, stacks, start: int = 0):
    """Runs `carry = layer(carry, parts_of_layer, layer_index)` for the layers of `stacks`.

    Args:
      config: says whether to scan and what the backward pass recomputes.
      layer: the step.
      stacks: what `Stack` gives, or several of them in a tuple, or a run of either.
      start: index of the first layer.
    """
    depth = len(jax.tree.leaves(stacks)[0])
    step, scanned = layer, config.scan and depth > 1
    if config.remat != "none":  # outside of a loop XLA would merge what is computed again with what it repeats
        step = jax.checkpoint(layer, policy=_CHECKPOINT_POLICIES[config.remat], prevent_cse=not scanned)
    if scanned:
        return jax.lax.scan(lambda c, x: (step(c, *x), None), carry, (stacks, start + jnp.arange(depth)))[0]
    for i, one in enumerate(cut(stacks, [1] * depth)):
        carry = step(carry, jax.tree.map(lambda leaf: leaf[0], one), jnp.int32(start + i))
    return carry


def layer_keys(keys_B: Array | None, layer: Array) -> Array | None:
    """One dropout key per example for this layer."""
    return None if keys_B is None else jax.vmap(jax.random.fold_in, (0, None))(keys_B, layer)


# Cheaper to make again than to keep: the intermediate arrays of either are several times its input, which is kept anyway, and a
# scan copies what it keeps into place and back out.
_remade = partial(jax.checkpoint, prevent_cse=False)


@_remade  # or the kernel in its other shape would be kept, a copy of the parameter
def _per_head(x_BTD: Array, kernel_DHE: Array) -> Float[Array, "B T H E"]:
    y_BTF = product(x_BTD, kernel_DHE.reshape(kernel_DHE.shape[0], -1))
    return y_BTF.reshape(*x_BTD.shape[:2], *kernel_DHE.shape[1:])


@partial(_remade, static_argnums=3)
def modulate(x_BTD: Array, scale: Array, shift: Array, dtype: str) -> Float[Array, "B T D"]:
    """LN(x) (1 + scale) + shift, adaLN."""
    return (layer_norm(x_BTD) * (1 + scale) + shift).astype(dtype)


@_remade
def gelu_tanh(x: Array) -> Array:
    """F5-TTS's GELU of the feed-forward, the tanh form."""
    return nn.gelu(x, approximate=True)


def _qkv_init(key, shape, dtype=jnp.float32):
    """Drawn as q, k and v side by side, then laid head by head."""
    width, heads, three = shape
    drawn = uniform_init(key, (width, heads * three), dtype).reshape(width, 3, heads, three // 3)
    return drawn.swapaxes(1, 2).reshape(shape)


def _split(keys_B):
    first_second = jax.vmap(jax.random.split)(keys_B)
    return first_second[:, 0], first_second[:, 1]
