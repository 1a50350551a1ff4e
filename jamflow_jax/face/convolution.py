"""Convolutions of pictures [B, H, W, C] and volumes [B, D, H, W, C], all of stride 1 and "same" zero padding.

A volume's kernel is stored as [kh, kw, in, kd, out]: read as [kh, kw, in, kd * out] it is the kernel of a 2-D convolution of every
depth slice alone, whose kd outputs then belong to kd neighbouring depths,

    y[d] = sum_j  (x[d + j - kd // 2] * kernel[:, :, :, j])

On CPUs that is how it is computed: XLA's own 3-D convolution is slow there. Other platforms use theirs.

A 3 x 3 convolution of a doubled picture sees every pixel of the small one two or more times. Its four phases (even and odd rows and
columns of the result) are 2 x 2 convolutions of the small picture, taps that see the same pixel added up: 4 products where there
were 9,

    even rows:  x[i - 1] k_0 + x[i] (k_1 + k_2)        odd rows:  x[i] (k_0 + k_1) + x[i + 1] k_2
"""
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

he_normal = nn.initializers.he_normal()


def conv2d(
    x_BHWC: Float[Array, "B H W C"], kernel: Float[Array, "kh kw Ci O"], stride: int = 1, groups: int = 1,
    out: jnp.dtype | None = None, padding: Any = None,
) -> Float[Array, "B H2 W2 O"]:
    """Stride 1: odd kernels and zero padding that keeps the size. Stride > 1: the kernel's size, no padding (patches).

    `padding`: ((top, bottom), (left, right)) instead of that.

    `out`: the result's type, x's by default; sums are float32 in any case.
    """
    padding = padding or ("SAME" if stride == 1 else "VALID")
    return lax.conv_general_dilated(
        x_BHWC, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
        preferred_element_type=out,
    )


def conv3d(
    x_BDHWC: Float[Array, "B D H W C"], kernel: Float[Array, "kh kw C kd O"], out: jnp.dtype | None = None, padding: Any = None
) -> Float[Array, "B D H W O"]:
    """An odd kernel, zero padding that keeps the size (or `padding` of height and width); see the top of the file."""
    slices, direct = (functools.partial(conv, out=out, padding=padding) for conv in (conv3d_by_slices, conv3d_direct))
    return lax.platform_dependent(x_BDHWC, kernel, cpu=slices, default=direct)


def conv3d_direct(
    x_BDHWC: Float[Array, "B D H W C"], kernel: Float[Array, "kh kw C kd O"], out: jnp.dtype | None = None, padding: Any = None
) -> Float[Array, "B D H W O"]:
    """The platform's own 3-D convolution."""
    kernel = jnp.transpose(kernel, (3, 0, 1, 2, 4))
    padding = "SAME" if padding is None else ((len(kernel) // 2,) * 2, *padding)
    return lax.conv_general_dilated(
        x_BDHWC, kernel, (1, 1, 1), padding, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"), preferred_element_type=out
    )


def conv3d_by_slices(
    x_BDHWC: Float[Array, "B D H W C"], kernel: Float[Array, "kh kw C kd O"], out: jnp.dtype | None = None, padding: Any = None
) -> Float[Array, "B D H W O"]:
    """One 2-D convolution of all depth slices, then a sum over neighbouring depths."""
    batch, depth, height, width, channels = x_BDHWC.shape
    kh, kw, _, kd, features = kernel.shape
    kernel = kernel.reshape(kh, kw, channels, kd * features)
    slices = conv2d(x_BDHWC.reshape(batch * depth, height, width, channels), kernel, out=out, padding=padding)
    parts = slices.reshape(batch, depth, height, width, kd, features)
    parts = jnp.pad(parts, ((0, 0), (kd // 2, kd // 2)) + ((0, 0),) * 4)
    return sum(parts[:, j : j + depth, :, :, j] for j in range(kd))


def conv3d_of_doubled(x_BDHWC: Float[Array, "B D H W C"], kernel: Float[Array, "3 3 C kd O"]) -> Float[Array, "B D H2 W2 O"]:
    """conv3d(double(x), kernel) from its four phases, without the doubled volume; see the top of the file."""
    taps = ((slice(0, 1), slice(1, 3)), (slice(0, 2), slice(2, 3)))  # of an even and an odd row, those of one pixel together

    def merged(kernel, phase, axis):
        parts = [lax.slice_in_dim(kernel, tap.start, tap.stop, axis=axis).sum(axis, keepdims=True) for tap in taps[phase]]
        return jnp.concatenate(parts, axis)

    def phase(i, j):
        padding = (1 - i, i), (1 - j, j)
        return conv3d(x_BDHWC, merged(merged(kernel, i, 0), j, 1), padding=padding)

    rows = [jnp.stack([phase(i, 0), phase(i, 1)], 4) for i in (0, 1)]  # [B, D, H, W, 2, O] each
    y = jnp.stack(rows, 3)
    batch, depth, height, _, width, _, features = y.shape
    return y.reshape(batch, depth, 2 * height, 2 * width, features)


class Conv(nn.Module):
    """A convolution of pictures, or of volumes with `depth` > 0 (the kernel's length along depth), with its bias.

    A BatchNorm behind a convolution of the original is folded into its kernel and bias when weights are loaded.
    `dtype` is what is multiplied, `out` the type of the result. `doubled`: of a volume, whose height and width are doubled first.
    """

    features: int
    size: int = 3
    depth: int = 0
    stride: int = 1
    groups: int = 1
    bias: bool = True
    dtype: jnp.dtype = jnp.float32
    out: jnp.dtype | None = None
    doubled: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"]) -> Float[Array, "B *space2 O"]:
        tail = (self.depth, self.features) if self.depth else (self.features,)
        kernel = self.param("kernel", he_normal, (self.size, self.size, x.shape[-1] // self.groups, *tail)).astype(self.dtype)
        x = x.astype(self.dtype)
        if self.doubled:
            y = conv3d_of_doubled(x, kernel)
        else:
            y = conv3d(x, kernel, self.out) if self.depth else conv2d(x, kernel, self.stride, self.groups, self.out)
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(y.dtype) if self.bias else y


class Affine(nn.Module):
    """scale * x + bias per channel: a BatchNorm with fixed statistics that stands before its convolution's ReLU."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*B C"]) -> Float[Array, "*B C"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return x.astype(self.dtype) * scale.astype(self.dtype) + bias.astype(self.dtype)


def halve(x: Float[Array, "*B H W C"]) -> Float[Array, "*B H2 W2 C"]:
    """Mean of 2 x 2 pixels (average pooling)."""
    *batch, height, width, channels = x.shape
    return x.reshape(*batch, height // 2, 2, width // 2, 2, channels).mean((-4, -2))


def double(x: Float[Array, "*B H W C"]) -> Float[Array, "*B H2 W2 C"]:
    """Every pixel twice in both directions (nearest-neighbour upsampling)."""
    *batch, height, width, channels = x.shape
    wide = jnp.broadcast_to(x[..., :, None, :, None, :], (*batch, height, 2, width, 2, channels))
    return wide.reshape(*batch, height * 2, width * 2, channels)


def leaky_relu(x: Array, slope: float) -> Array:
    """x where positive, slope * x elsewhere."""
    return jax.nn.leaky_relu(x, slope)
