"""The few primitives every module is made of: linear, convolution, normalisation, dropout; each names its logical axes.

Parameters are float32 and cast to the computation's dtype where they are used. Initial values are PyTorch's defaults, from which
F5-TTS starts: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for kernels (biases start at zero here), or zeros where adaLN-zero asks.
"""
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jamflow_jax.parallel.rules import constrain

uniform_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def named(init: Callable, *axes: str | None) -> Callable:
    """`init` whose parameter carries the logical axis names that jamflow_jax/parallel/rules.py maps to the mesh."""
    return nn.with_logical_partitioning(init, axes)


def gathered(parameter: Array, *axes: str | None, dtype: str) -> Array:
    """A parameter as it is used: cast, then whole along the axes that are cut over fsdp, where the batch is cut as well.

    Left to itself the partitioner may keep a product's output cut along both; XLA's on CPU then swapped examples between devices
    on a mesh of data x fsdp x tensor (jax 0.10.2). The gradient is asked for as the parameter lies, cut: a constraint's own
    transpose would ask for it whole, which all devices then sum up whole (an all-reduce over 1,024 of them, in the plan for
    configs/10b.py) instead of each its part.

    Nothing to do, nothing done: the output of a rule for gradients is kept for the backward pass, a copy of every parameter.
    """
    if parameter.dtype == dtype and jax.sharding.get_abstract_mesh().size <= 1:
        return parameter
    return _gathered(parameter, axes, dtype, parameter.dtype.name)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _gathered(parameter, axes, dtype, at_rest):
    return constrain(parameter.astype(dtype), *(None if axis in _CUT_AT_REST else axis for axis in axes))


def _gathered_fwd(parameter, axes, dtype, at_rest):
    return _gathered(parameter, axes, dtype, at_rest), None


def _gathered_bwd(axes, dtype, at_rest, _, gradient):
    return (constrain(gradient, *axes).astype(at_rest),)


_gathered.defvjp(_gathered_fwd, _gathered_bwd)


_CUT_AT_REST = ("embed", "text")  # logical axes of parameters alone; activations have "act_embed"


@jax.custom_vjp
def product(x: Float[Array, "*rows I"], kernel_IO: Float[Array, "I O"]) -> Float[Array, "*rows O"]:
    """x @ kernel, with the kernel's gradient in the order x dy: JAX's own, dy x and turned, had XLA on CPUs turn dy round."""
    return x @ kernel_IO


def _product_fwd(x, kernel_IO):
    return x @ kernel_IO, (x, kernel_IO)  # a plain product: policies of jax.checkpoint know those


def _product_bwd(residuals, dy):
    x, kernel_IO = residuals
    rows = tuple(range(x.ndim - 1))
    return dy @ kernel_IO.T, jax.lax.dot_general(x, dy, ((rows, rows), ((), ())))


product.defvjp(_product_fwd, _product_bwd)


class Linear(nn.Module):
    """y = x W + b, W [in, out] with logical `axes`."""

    features: int
    axes: tuple[str | None, str | None]
    dtype: str
    zero: bool = False
    bias: bool = True

    @nn.compact
    def __call__(self, x):
        init = nn.initializers.zeros if self.zero else uniform_init
        kernel = self.param("kernel", named(init, *self.axes), (x.shape[-1], self.features))
        y = product(x.astype(self.dtype), gathered(kernel, *self.axes, dtype=self.dtype))
        if self.bias:
            bias = self.param("bias", named(nn.initializers.zeros, self.axes[1]), (self.features,))
            y = y + gathered(bias, self.axes[1], dtype=self.dtype)
        return y


class Conv1d(nn.Module):
    """Convolution over time, "same" zero padding; kernel [width, in / groups, out] (PyTorch's (out, in / groups, width) turned)."""

    features: int
    width: int
    groups: int
    axis: str
    dtype: str

    @nn.compact
    def __call__(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T E"]:
        shape = (self.width, x_BTD.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", named(uniform_init, None, None, self.axis), shape)
        bias = self.param("bias", named(nn.initializers.zeros, self.axis), (self.features,))
        x_BTD, kernel = x_BTD.astype(self.dtype), gathered(kernel, None, None, self.axis, dtype=self.dtype)
        y_BTD = depthwise_conv(x_BTD, kernel) if self.groups == self.features else grouped_conv(x_BTD, kernel, self.groups)
        return y_BTD + gathered(bias, self.axis, dtype=self.dtype)


def depthwise_conv(x_BTD: Float[Array, "B T D"], kernel_W1D: Float[Array, "W 1 D"]) -> Float[Array, "B T D"]:
    """A sum of W shifted products: on a CPU the gradient takes a seventeenth of the convolution primitive's."""
    width, frames = kernel_W1D.shape[0], x_BTD.shape[1]
    padded = jnp.pad(x_BTD, ((0, 0), (width // 2, width // 2), (0, 0)))
    return sum(padded[:, i : i + frames] * kernel_W1D[i, 0] for i in range(width))


TAPS = 8  # of a kernel, whose gradients are one product


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def grouped_conv(x_BTD: Float[Array, "B T D"], kernel_WIE: Float[Array, "W I E"], groups: int) -> Float[Array, "B T E"]:
    """The convolution primitive, with a backward pass of its own: XLA's kernel gradient takes 5 to 12 times as long on a CPU."""
    pad = kernel_WIE.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x_BTD, kernel_WIE, (1,), [(pad, pad)], dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=groups)


def _grouped_conv_fwd(x_BTD, kernel_WIE, groups):
    return grouped_conv(x_BTD, kernel_WIE, groups), (x_BTD, kernel_WIE)


def _grouped_conv_bwd(groups, residuals, dy_BTE):
    x_BTD, kernel_WIE = residuals
    (batch, frames, _), (width, ins, features) = x_BTD.shape, kernel_WIE.shape
    outs = features // groups
    # inputs: the same convolution with the kernel turned round and transposed within each group
    turned_WOD = kernel_WIE.reshape(width, ins, groups, outs)[::-1].transpose(0, 3, 2, 1).reshape(width, outs, groups * ins)
    dx_BTD = grouped_conv(dy_BTE, turned_WOD, groups)
    # kernel: products over all frames, of TAPS shifted copies of a group's inputs at once
    taps = -(-width // TAPS) * TAPS
    x_GIBT = jnp.pad(x_BTD, ((0, 0), (width // 2, taps - width // 2), (0, 0))).reshape(batch, -1, groups, ins).transpose(2, 3, 0, 1)
    dy_GBTO = dy_BTE.reshape(batch, frames, groups, outs).transpose(2, 0, 1, 3)

    def some(first):
        shifted = [jax.lax.dynamic_slice_in_dim(x_GIBT, first + i, frames, axis=3) for i in range(TAPS)]
        return jnp.einsum("gxbt,gbto->gxo", jnp.concatenate(shifted, axis=1), dy_GBTO, preferred_element_type=jnp.float32)

    products = jax.lax.map(some, jnp.arange(0, taps, TAPS)).reshape(taps // TAPS, groups, TAPS, ins, outs)
    dkernel_WIE = products.transpose(0, 2, 3, 1, 4).reshape(taps, *kernel_WIE.shape[1:])[:width]
    return dx_BTD, dkernel_WIE.astype(kernel_WIE.dtype)


grouped_conv.defvjp(_grouped_conv_fwd, _grouped_conv_bwd)


def layer_norm(x_BTD: Float[Array, "B T D"], epsilon: float = 1e-6) -> Float[Array, "B T D"]:
    """LayerNorm without parameters, computed and returned in float32."""
    x_BTD = x_BTD.astype(jnp.float32)
    centred_BTD = x_BTD - x_BTD.mean(-1, keepdims=True)
    return centred_BTD * jax.lax.rsqrt((centred_BTD**2).mean(-1, keepdims=True) + epsilon)


class AffineLayerNorm(nn.Module):
    """LayerNorm with scale and bias, epsilon 1e-6."""

    axis: str
    dtype: str

    @nn.compact
    def __call__(self, x_BTD):
        scale = self.param("scale", named(nn.initializers.ones, self.axis), (x_BTD.shape[-1],))
        bias = self.param("bias", named(nn.initializers.zeros, self.axis), (x_BTD.shape[-1],))
        scale, bias = (gathered(part, self.axis, dtype="float32") for part in (scale, bias))
        return (layer_norm(x_BTD) * scale + bias).astype(self.dtype)


def dropout(x_BTD: Array, keys_B: Array | None, rate: float) -> Array:
    """Inverted dropout with one key per example, so that a mask depends on no other example. `keys_B=None`: none.

    A draw of 32 bits decides about two neighbours (an even D), 16 bits each: the rate is met to 1 / 65,536. Making the bits was a
    fifteenth of a layer's time on CPUs.
    """
    if keys_B is None or rate == 0.0:
        return x_BTD
    _, T, D = x_BTD.shape
    bits_BTP2 = jax.lax.bitcast_convert_type(jax.vmap(lambda key: jax.random.bits(key, (T, D // 2)))(keys_B), jnp.uint16)
    keep_BTD = bits_BTP2.reshape(x_BTD.shape) >= round(rate * 2**16)
    # not jnp.where, whose backward pass is given an array of zeros besides the mask
    return jax.lax.select(keep_BTD, x_BTD / (1.0 - rate), jnp.zeros_like(x_BTD))
