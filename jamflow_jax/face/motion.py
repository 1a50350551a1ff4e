"""M, the motion extractor: one picture of a face -> keypoints, expression, head pose. ConvNeXtV2-tiny with linear heads.

    patches 4x4 -> 3, 3, 9, 3 blocks of widths 96, 192, 384, 768 -> mean over the picture -> heads
    block: x + linear(GRN(GELU(linear(LayerNorm(depthwise 7x7 conv(x))))))
    angle = 3 sum_i softmax(bins)_i i - 97.5  degrees

Source: LivePortrait, modules/motion_extractor.py, convnextv2.py; utils/camera.py for the angles.
"""
import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jamflow_jax.face.convolution import Conv

DEPTHS, WIDTHS = (3, 3, 9, 3), (96, 192, 384, 768)
BINS, KEYPOINTS = 66, 21
HEADS = {"pitch": BINS, "yaw": BINS, "roll": BINS, "t": 3, "exp": 3 * KEYPOINTS, "scale": 1, "kp": 3 * KEYPOINTS}


def norm(name: str) -> nn.LayerNorm:
    """LayerNorm in float32."""
    return nn.LayerNorm(epsilon=1e-6, name=name)


class Depthwise(nn.Module):
    """A 7 x 7 convolution of every channel by itself."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        channels = x_BHWC.shape[-1]
        kernel = self.param("kernel", nn.initializers.he_normal(), (7, 7, 1, channels)).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,)).astype(self.dtype)
        x_BHWC = x_BHWC.astype(self.dtype)
        return lax.platform_dependent(x_BHWC, kernel, cpu=depthwise_by_shifts, default=depthwise_direct) + bias


def depthwise_direct(x_BHWC: Float[Array, "B H W C"], kernel: Float[Array, "kh kw 1 C"]) -> Float[Array, "B H W C"]:
    """The platform's own grouped convolution."""
    return lax.conv_general_dilated(
        x_BHWC, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=x_BHWC.shape[-1]
    )


def depthwise_by_shifts(x_BHWC: Float[Array, "B H W C"], kernel: Float[Array, "kh kw 1 C"]) -> Float[Array, "B H W C"]:
    """A sum of 49 shifted products, which XLA fuses on CPUs: its grouped convolution is slow there."""
    height, width = x_BHWC.shape[1:3]
    kh, kw = kernel.shape[:2]
    x = jnp.pad(x_BHWC, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))
    return sum(x[:, i : i + height, j : j + width] * kernel[i, j, 0] for i in range(kh) for j in range(kw))


class Block(nn.Module):
    """One ConvNeXtV2 block; GRN(x) = x + beta + gamma x n / mean(n), n the channels' norms over the picture."""

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        y = norm("norm")(Depthwise(self.dtype, name="depthwise")(x_BHWC).astype(jnp.float32))
        y = jax.nn.gelu(nn.Dense(4 * self.width, dtype=self.dtype, name="in")(y), approximate=False)
        gamma = self.param("grn_gamma", nn.initializers.zeros, (4 * self.width,)).astype(self.dtype)
        beta = self.param("grn_beta", nn.initializers.zeros, (4 * self.width,)).astype(self.dtype)
        size = jnp.sqrt(jnp.sum(jnp.square(y.astype(jnp.float32)), (1, 2), keepdims=True))
        size = (size / (size.mean(-1, keepdims=True) + 1e-6)).astype(self.dtype)
        y = y + beta + gamma * (y * size)
        return x_BHWC + nn.Dense(self.width, dtype=self.dtype, name="out")(y)


class Motion(nn.Module):
    """Pictures in [0, 1], 256 x 256 -> {head: float32 [B, n]}: bins for the angles, canonical units for the rest."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image_BHW3: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B N"]]:
        x = image_BHW3
        for stage, (depth, width) in enumerate(zip(DEPTHS, WIDTHS)):
            if stage == 0:
                x = norm("norm_0")(Conv(width, size=4, stride=4, dtype=self.dtype, name="down_0")(x).astype(jnp.float32))
            else:
                x = Conv(width, size=2, stride=2, dtype=self.dtype, name=f"down_{stage}")(norm(f"norm_{stage}")(x))
            x = x.astype(self.dtype)
            for i in range(depth):
                x = Block(width, self.dtype, name=f"stage_{stage}_{i}")(x)
        x = norm("norm")(x.astype(jnp.float32).mean((1, 2)))
        return {name: nn.Dense(size, name=name)(x) for name, size in HEADS.items()}


def degrees(bins_B66: Float[Array, "B 66"]) -> Float[Array, "B"]:
    """The angle of a head's bins."""
    return 3 * jnp.sum(jax.nn.softmax(bins_B66, -1) * jnp.arange(BINS, dtype=jnp.float32), -1) - 97.5
