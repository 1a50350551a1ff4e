"""G, the SPADE decoder: a warped feature map [64, 64, 256] -> a picture [512, 512, 3].

    SPADE(x; s) = (1 + gamma(h)) InstanceNorm(x) + beta(h),   h = ReLU(conv(s)),   s the feature map at x's size
    block(x)    = shortcut(x) + conv(act(SPADE(conv(act(SPADE(x))))))                act: leaky ReLU 0.2
    picture     = sigmoid(PixelShuffle_2(conv(act(x))))

Six blocks of 512 at 64 x 64, one to 256 at 128 x 128, one to 64 at 256 x 256. gamma and beta are one convolution here; spectral
norms are folded when weights are loaded. Source: LivePortrait, modules/spade_generator.py, util.py.
"""
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jamflow_jax.face.convolution import Conv, double, leaky_relu

HIDDEN, MIDDLE = 128, 6


def instance_norm(x_BHWC: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Mean 0, variance 1 over each picture's channel; statistics in float32."""
    x = x_BHWC.astype(jnp.float32)
    mean = x.mean((1, 2), keepdims=True)
    variance = jnp.square(x - mean).mean((1, 2), keepdims=True)
    return ((x - mean) * jax.lax.rsqrt(variance + 1e-5)).astype(x_BHWC.dtype)


class Spade(nn.Module):
    """Takes an instance-normalised x: two of a block's three share it. `doubled`: the feature map is half x's size."""

    dtype: jnp.dtype = jnp.float32
    doubled: bool = False

    @nn.compact
    def __call__(self, normal_BHWC: Float[Array, "B H W C"], seg_BHWS: Float[Array, "B H W S"]) -> Float[Array, "B H W C"]:
        hidden = jax.nn.relu(Conv(HIDDEN, dtype=self.dtype, doubled=self.doubled, name="shared")(seg_BHWS))
        both = Conv(2 * normal_BHWC.shape[-1], dtype=self.dtype, name="gamma_beta")(hidden)
        gamma, beta = jnp.split(both, 2, -1)
        return normal_BHWC * (1 + gamma) + beta


class Block(nn.Module):
    """A residual block of SPADEs; its shortcut is learned where the width changes."""

    features: int
    dtype: jnp.dtype = jnp.float32
    doubled: bool = False

    @nn.compact
    def __call__(self, x_BHWC: Float[Array, "B H W C"], seg_BHWS: Float[Array, "B H W S"]) -> Float[Array, "B H W C2"]:
        width = x_BHWC.shape[-1]
        normal = instance_norm(x_BHWC)
        y = Spade(self.dtype, self.doubled, name="norm_0")(normal, seg_BHWS)
        y = Conv(min(width, self.features), dtype=self.dtype, name="conv_0")(leaky_relu(y, 0.2))
        y = Spade(self.dtype, self.doubled, name="norm_1")(instance_norm(y), seg_BHWS)
        y = Conv(self.features, dtype=self.dtype, name="conv_1")(leaky_relu(y, 0.2))
        if width == self.features:
            return x_BHWC + y
        shortcut = Spade(self.dtype, self.doubled, name="norm_s")(normal, seg_BHWS)
        return Conv(self.features, size=1, bias=False, dtype=self.dtype, name="conv_s")(shortcut) + y


class Generator(nn.Module):
    """Feature maps [B, 64, 64, 256] -> float32 pictures in (0, 1), [B, 512, 512, 3]."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, feature_BHWC: Float[Array, "B H W 256"]) -> Float[Array, "B H8 W8 3"]:
        seg = feature_BHWC.astype(self.dtype)
        width = 2 * seg.shape[-1]  # 512
        x = Conv(width, dtype=self.dtype, name="first")(seg)
        for i in range(MIDDLE):
            x = Block(width, self.dtype, name=f"middle_{i}")(x, seg)
        x = Block(width // 2, self.dtype, doubled=True, name="up_0")(double(x), seg)
        x = Block(width // 8, self.dtype, doubled=True, name="up_1")(double(x), double(seg))
        x = Conv(12, dtype=self.dtype, name="image")(leaky_relu(x, 0.2))
        return jax.nn.sigmoid(pixel_shuffle(x.astype(jnp.float32)))


def pixel_shuffle(x_BHWC: Float[Array, "B H W C4"]) -> Float[Array, "B H2 W2 C"]:
    """Channels (c, i, j) of a pixel become its 2 x 2 block of pixels."""
    batch, height, width, channels = x_BHWC.shape
    x = x_BHWC.reshape(batch, height, width, channels // 4, 2, 2)
    return jnp.transpose(x, (0, 1, 4, 2, 5, 3)).reshape(batch, height * 2, width * 2, channels // 4)
