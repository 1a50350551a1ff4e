"""Convolutions of pictures [B, H, W, C] and volumes [B, D, H, W, C], all of stride 1 and "same" zero padding.

A volume's kernel is stored as [kh, kw, in, kd, out]: read as [kh, kw, in, kd * out] it is the kernel of a 2-D convolution of every
depth slice alone, whose kd outputs then belong to kd neighbouring depths,

    y[d] = sum_j  (x[d + j - kd // 2] * kernel[:, :, :, j])

On CPUs that is how it is computed, XLA's own 3-D convolution is slow there; or, in float32 and where many pixels see a kernel, with
fewer products along depth, in pictures along height (winograd.py). Other platforms use their own: cuDNN chooses among such ways
itself, and matrix units of bfloat16 have products to spare but no bits.

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

from jamflow_jax.face import winograd

he_normal = nn.initializers.he_normal()

SHARED = 4096  # pixels that a kernel sees before transforms pay for themselves: their own time, and that of compiling them
LANES = 32  # of CPUs' vectors and what they hold at once: 22 features take as long as 32


def conv2d(
    x_BHWC: Float[Array, "B H W C"], kernel: Float[Array, "kh kw Ci O"], stride: int = 1, groups: int = 1,
    out: jnp.dtype | None = None, padding: Any = None,
) -> Float[Array, "B H2 W2 O"]:
    """Stride 1: odd kernels and zero padding that keeps the size. Stride > 1: the kernel's size, no padding (patches).

    `padding`: ((top, bottom), (left, right)) instead of that.

    `out`: the result's type, x's by default; sums are float32 in any case.
    """
    direct = functools.partial(conv2d_direct, stride=stride, groups=groups, out=out, padding=padding)
    wide = len(kernel) > 1 and min(kernel.shape[2:]) >= LANES
    if padding is not None or not stride == groups == 1 or not (wide and shares(x_BHWC)):
        return direct(x_BHWC, kernel)
    return lax.platform_dependent(x_BHWC, kernel, cpu=functools.partial(conv2d_by_rows, out=out), default=direct)


def conv2d_direct(
    x_BHWC: Float[Array, "B H W C"], kernel: Float[Array, "kh kw Ci O"], stride: int = 1, groups: int = 1,
    out: jnp.dtype | None = None, padding: Any = None,
) -> Float[Array, "B H2 W2 O"]:
    """The platform's own 2-D convolution."""
    padding = padding or ("SAME" if stride == 1 else "VALID")
    return lax.conv_general_dilated(
        x_BHWC, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
        preferred_element_type=out,
    )


def conv2d_by_rows(
    x_BHWC: Float[Array, "B H W C"], kernel: Float[Array, "kh kw C O"], out: jnp.dtype | None = None
) -> Float[Array, "B H W O"]:
    """1-D convolutions of sums of rows: half as many products (3 taps)."""
    return winograd.convolve(x_BHWC, kernel, 1, lambda x_BHWC, kernel: conv2d_direct(x_BHWC, kernel[None], out=out))


def shares(x: Float[Array, "*B C"]) -> bool:
    """Whether CPUs take fewer products and more sums for x (winograd.py): float32, a kernel used often enough."""
    return x.dtype == jnp.float32 and x.size // x.shape[-1] >= SHARED


def conv3d(
    x_BDHWC: Float[Array, "B D H W C"], kernel: Float[Array, "kh kw C kd O"], out: jnp.dtype | None = None, padding: Any = None
) -> Float[Array, "B D H W O"]:
    """An odd kernel, zero padding that keeps the size (or `padding` of height and width); see the top of the file."""
    fewer = kernel.shape[3] > 1 and shares(x_BDHWC)
    ways = conv3d_by_depths if fewer else conv3d_by_slices, conv3d_direct
    cpu, direct = (functools.partial(conv, out=out, padding=padding) for conv in ways)
    return lax.platform_dependent(x_BDHWC, kernel, cpu=cpu, default=direct)


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
    slices = conv2d_direct(x_BDHWC.reshape(batch * depth, height, width, channels), kernel, out=out, padding=padding)
    parts = slices.reshape(batch, depth, height, width, kd, features)
    parts = jnp.pad(parts, ((0, 0), (kd // 2, kd // 2)) + ((0, 0),) * 4)
    return sum(parts[:, j : j + depth, :, :, j] for j in range(kd))


def conv3d_by_depths(
    x_BDHWC: Float[Array, "B D H W C"], kernel: Float[Array, "kh kw C kd O"], out: jnp.dtype | None = None, padding: Any = None
) -> Float[Array, "B D H W O"]:
    """2-D convolutions of sums of depth slices: half as many products (3 taps), or a third (7)."""
    features = kernel.shape[-1]
    kernel = jnp.pad(kernel, ((0, 0),) * 4 + ((0, -features % LANES),))

    def conv(x_BDHWC, kernel):
        y = conv2d_direct(x_BDHWC.reshape(-1, *x_BDHWC.shape[2:]), kernel, out=out, padding=padding)
        return y.reshape(*x_BDHWC.shape[:2], *y.shape[1:])

    return winograd.convolve(x_BDHWC, jnp.moveaxis(kernel, 3, 0), 1, conv)[..., :features]


def conv_of_doubled(x: Float[Array, "*B H W C"], kernel: Float[Array, "3 3 C *kd O"]) -> Float[Array, "*B H2 W2 O"]:
    """The convolution of double(x) from its four phases, without the doubled picture or volume; see the top of the file."""
    conv = conv3d if kernel.ndim == 5 else conv2d
    taps = ((slice(0, 1), slice(1, 3)), (slice(0, 2), slice(2, 3)))  # of an even and an odd row, those of one pixel together

    def merged(kernel, phase, axis):
        parts = [lax.slice_in_dim(kernel, tap.start, tap.stop, axis=axis).sum(axis, keepdims=True) for tap in taps[phase]]
        return jnp.concatenate(parts, axis)

    def phase(i, j):
        padding = (1 - i, i), (1 - j, j)
        return conv(x, merged(merged(kernel, i, 0), j, 1), padding=padding)

    rows = [jnp.stack([phase(i, 0), phase(i, 1)], -2) for i in (0, 1)]  # [*B, H, W, 2, O] each
    y = jnp.stack(rows, -4)
    *batch, height, _, width, _, features = y.shape
    return y.reshape(*batch, 2 * height, 2 * width, features)


class Conv(nn.Module):
    """A convolution of pictures, or of volumes with `depth` > 0 (the kernel's length along depth), with its bias.

    A BatchNorm behind a convolution of the original is folded into its kernel and bias when weights are loaded.
    `dtype` is what is multiplied, `out` the type of the result. `doubled`: of x with its height and width doubled.
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
            y = conv_of_doubled(x, kernel)
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
