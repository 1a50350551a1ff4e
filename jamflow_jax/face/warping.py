"""W, the warping network: a feature volume and two sets of keypoints -> the warped feature map and how it was warped.

With x_s, x_d the source's and the driving keypoints and delta_k = x_s,k - x_d,k (delta_0 = 0: the background), K = 21:

    candidates   (compressed volume shifted by delta_k, Gaussian(x_d,k) - Gaussian(x_s,k))       k = 0 .. K
    hourglass    -> masks m_k (softmax over k) and an occlusion map
    deformation  = grid + sum_k m_k delta_k                         (the original's sum of m_k (grid + delta_k): the masks sum to 1)
    feature map  = 1x1 conv(leaky ReLU(conv(volume sampled at the deformation))) * occlusion

The candidates are pure shifts, so they are sampled axis by axis and their Gaussians are products of curves (sampling.py): no gather
over 22 volumes. Places, shifts and masks, from the last sums on, stay float32 whatever `dtype` is: in bfloat16 a place
at the edge is off by half a voxel, and a mask's logit of 8 by 3 % of the mask.
Source: LivePortrait, modules/warping_network.py, dense_motion.py, util.py.
"""
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jamflow_jax.face.convolution import Conv, halve, leaky_relu
from jamflow_jax.face.sampling import gaussians, grid, sample, sample_shifted

COMPRESSED, VARIANCE, FEATURES = 4, 0.01, 256
DOWN, UP = (64, 128, 256, 512, 1024), (512, 256, 128, 64, 32)


class Warped(NamedTuple):
    """`feature`: what G draws. `deformation`: where each voxel comes from, (x, y, z) in [-1, 1]. `occlusion`: in (0, 1)."""

    feature: Float[Array, "B H W 256"]
    deformation: Float[Array, "B D H W 3"]
    occlusion: Float[Array, "B H W 1"]


class Hourglass(nn.Module):
    """Five halvings and doublings of height and width (never depth) with skips; the input itself is the last one."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BDHWC: Float[Array, "B D H W C"]) -> Float[Array, "B D H W C2"]:
        skips, x = [], x_BDHWC.astype(self.dtype)
        for i, features in enumerate(DOWN):
            skips.append(x)
            x = halve(jax.nn.relu(Conv(features, depth=3, dtype=self.dtype, name=f"down_{i}")(x)))
        for i, features in enumerate(UP):
            x = jax.nn.relu(Conv(features, depth=3, dtype=self.dtype, doubled=True, name=f"up_{i}")(x))
            x = jnp.concatenate([x, skips.pop()], -1)
        return jax.nn.relu(Conv(x.shape[-1], depth=3, dtype=self.dtype, name="out")(x))


class Warping(nn.Module):
    """One source for all frames (batch 1 in `volume` and `source`), or one for each."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        volume_BDHWC: Float[Array, "B1 D H W C"], source_BK3: Float[Array, "B1 K 3"], driving_BK3: Float[Array, "B K 3"],
    ) -> Warped:
        shape, batch = volume_BDHWC.shape[1:4], len(driving_BK3)
        source, driving = source_BK3.astype(jnp.float32), driving_BK3.astype(jnp.float32)
        shift = jnp.pad(source - driving, ((0, 0), (1, 0), (0, 0)))  # the background first
        small = jax.nn.relu(Conv(COMPRESSED, size=1, depth=1, dtype=self.dtype, name="compress")(volume_BDHWC))
        shifted = sample_shifted(jnp.broadcast_to(small, (batch, *small.shape[1:])), shift)
        heat = gaussians(driving, shape, VARIANCE) - gaussians(source, shape, VARIANCE)
        heat = jnp.pad(heat, ((0, 0),) * 4 + ((1, 0),)).astype(self.dtype)
        candidates = jnp.concatenate([heat[..., None], jnp.moveaxis(shifted, 1, 4)], -1)
        prediction = Hourglass(self.dtype, name="hourglass")(candidates.reshape(batch, *shape, -1))

        mask = Conv(shift.shape[1], size=7, depth=7, dtype=self.dtype, out=jnp.float32, name="mask")(prediction)
        mask = jax.nn.softmax(mask, -1)
        moved = jnp.einsum("bdhwk,bkc->bdhwc", mask, shift, precision=jax.lax.Precision.HIGHEST)
        deformation = grid(*shape) + moved
        occlusion = Conv(1, size=7, dtype=self.dtype, out=jnp.float32, name="occlusion")(flatten_depth(prediction))
        occlusion = jax.nn.sigmoid(occlusion)

        volume = jnp.broadcast_to(volume_BDHWC.astype(self.dtype), (batch, *volume_BDHWC.shape[1:]))
        x = flatten_depth(sample(volume, deformation))
        x = leaky_relu(Conv(FEATURES, dtype=self.dtype, name="third")(x), 0.01)
        x = Conv(FEATURES, size=1, dtype=self.dtype, name="fourth")(x)
        return Warped(x * occlusion.astype(self.dtype), deformation, occlusion)


def flatten_depth(x_BDHWC: Float[Array, "B D H W C"]) -> Float[Array, "B H W CD"]:
    """A volume as a picture, channels in the original's order: C outer, D inner."""
    x = jnp.transpose(x_BDHWC, (0, 2, 3, 4, 1))
    return x.reshape(*x.shape[:3], -1)
