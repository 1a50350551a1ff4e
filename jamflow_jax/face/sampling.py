"""Trilinear sampling of volumes [B, D, H, W, C] at places in [-1, 1]^3, zero outside: PyTorch's grid_sample, align_corners=False.

The outer edges of the outermost voxels are at -1 and 1, so along an axis of n voxels the place p lies at the index

    u = ((p + 1) n - 1) / 2

and what surrounds u beyond the edge counts as 0. Places are (x, y, z): x along W, y along H, z along D.
LivePortrait's own coordinate grid puts the *centres* of the outermost voxels at -1 and 1: its "identity" warp is not quite one, and
reaches half a voxel out of the volume.
"""
import itertools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def axis(n: int) -> Float[Array, "n"]:
    """LivePortrait's coordinates of n voxel centres: -1 to 1."""
    return 2 * jnp.arange(n, dtype=jnp.float32) / (n - 1) - 1


def grid(depth: int, height: int, width: int) -> Float[Array, "D H W 3"]:
    """LivePortrait's coordinates (x, y, z) of every voxel."""
    z, y, x = jnp.meshgrid(axis(depth), axis(height), axis(width), indexing="ij")
    return jnp.stack([x, y, z], -1)


def sample(volume_BDHWC: Float[Array, "B D H W C"], places: Float[Array, "B *P 3"]) -> Float[Array, "B *P C"]:
    """The volume at any places, by gathering the eight voxels around each; weighted and summed in float32."""
    batch, depth, height, width, channels = volume_BDHWC.shape
    low, weights, inside = [], [], []
    for k, n in enumerate((width, height, depth)):
        u = ((places[..., k].astype(jnp.float32) + 1) * n - 1) / 2
        floor = jnp.floor(u)
        # Far outside (or not finite) no corner counts; clamped first, so that the integers below cannot overflow.
        index = jnp.clip(jnp.nan_to_num(floor), -2, n).astype(jnp.int32)
        low.append(index)
        weights.append((1 - (u - floor), u - floor))
        inside.append(tuple((index + step >= 0) & (index + step < n) for step in (0, 1)))
    flat = volume_BDHWC.reshape(batch, depth * height * width, channels)
    total = 0.0
    for dx, dy, dz in itertools.product((0, 1), repeat=3):
        x, y, z = (jnp.clip(low[k] + step, 0, n - 1) for k, (step, n) in enumerate(((dx, width), (dy, height), (dz, depth))))
        index = ((z * height + y) * width + x).reshape(batch, -1)
        corner = jnp.take_along_axis(flat, index[..., None], axis=1).reshape(*x.shape, channels)
        weight = weights[0][dx] * weights[1][dy] * weights[2][dz]
        weight = jnp.where(inside[0][dx] & inside[1][dy] & inside[2][dz], weight, 0)
        total += corner * weight[..., None]
    return total.astype(volume_BDHWC.dtype)


def interpolation(n: int, places: Float[Array, "*B P"]) -> Float[Array, "*B P n"]:
    """The matrix that samples an axis of n voxels linearly at P places: at most two entries a row are not 0."""
    u = ((places.astype(jnp.float32) + 1) * n - 1) / 2
    return jnp.maximum(0, 1 - jnp.abs(u[..., None] - jnp.arange(n, dtype=jnp.float32)))


def sample_shifted(volume_BDHWC: Float[Array, "B D H W C"], shift_BK3: Float[Array, "B K 3"]) -> Float[Array, "B K D H W C"]:
    """`sample` at `grid` + shift for K shifts: x, y and z do not mix, so three small matrix products and no gather."""
    _, depth, height, width, _ = volume_BDHWC.shape
    x, y, z = (
        interpolation(n, axis(n) + shift_BK3[..., k, None]).astype(volume_BDHWC.dtype)
        for k, n in enumerate((width, height, depth))
    )
    # In bfloat16 the weights would be off by 2^-9: these products are small, so they keep what precision there is.
    high = lax.Precision.HIGHEST
    y_part = jnp.einsum("bkyh,bdhwc->bkdywc", y, volume_BDHWC, precision=high)
    x_part = jnp.einsum("bkxw,bkdywc->bkdyxc", x, y_part, precision=high)
    return jnp.einsum("bkzd,bkdyxc->bkzyxc", z, x_part, precision=high)


def gaussians(points_BK3: Float[Array, "B K 3"], shape: tuple[int, int, int], variance: float) -> Float[Array, "B D H W K"]:
    """exp(-|grid - point|^2 / (2 variance)) for K points on LivePortrait's grid, as a product of three curves."""
    depth, height, width = shape
    points = points_BK3.astype(jnp.float32)
    x, y, z = (
        jnp.exp(-0.5 * (axis(n)[:, None] - points[:, None, :, k]) ** 2 / variance) for k, n in enumerate((width, height, depth))
    )
    return z[:, :, None, None] * y[:, None, :, None] * x[:, None, None, :]
