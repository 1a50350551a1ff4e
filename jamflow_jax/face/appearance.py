"""F, the appearance extractor: one picture of a face -> a feature volume.

    256 x 256 x 3 -> conv 64 -> (conv, ReLU, halve) 128, 256 -> 1x1 conv 512 -> 16 depths of 32 channels -> six residual blocks

Source: LivePortrait, modules/appearance_feature_extractor.py. BatchNorms are folded (convolution.py).
"""
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jamflow_jax.face.convolution import Affine, Conv, halve

CHANNELS, DEPTH, BLOCKS = 32, 16, 6


class Residual(nn.Module):
    """x + conv(ReLU(conv(ReLU(affine(x))))); the BatchNorm between the two is folded into the first."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BDHWC: Float[Array, "B D H W C"]) -> Float[Array, "B D H W C"]:
        y = jax.nn.relu(Affine(dtype=self.dtype, name="norm")(x_BDHWC))
        y = jax.nn.relu(Conv(CHANNELS, depth=3, dtype=self.dtype, name="conv_0")(y))
        return x_BDHWC + Conv(CHANNELS, depth=3, dtype=self.dtype, name="conv_1")(y)


class Appearance(nn.Module):
    """Pictures in [0, 1], 256 x 256 -> feature volumes [B, 16, 64, 64, 32]."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image_BHW3: Float[Array, "B H W 3"]) -> Float[Array, "B D H4 W4 C"]:
        x = jax.nn.relu(Conv(64, dtype=self.dtype, name="first")(image_BHW3))
        for i, features in enumerate((128, 256)):
            x = halve(jax.nn.relu(Conv(features, dtype=self.dtype, name=f"down_{i}")(x)))
        x = Conv(CHANNELS * DEPTH, size=1, dtype=self.dtype, name="second")(x)
        x = x.reshape(*x.shape[:-1], CHANNELS, DEPTH)  # the original's channels hold the volume in this order
        x = jnp.transpose(x, (0, 4, 1, 2, 3))
        for i in range(BLOCKS):
            x = Residual(self.dtype, name=f"block_{i}")(x)
        return x
