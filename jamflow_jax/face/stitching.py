"""S: three small networks on keypoints. Stitching keeps shoulders and hair in place; lip and eye set openings.

    stitching  (x_s, x_d)               126 -> 65: corrections of 21 points, and of t_x, t_y
    lip        (x_s, c_source, c_driving)       65 -> 63
    eye        (x_s, left, right, c_driving)    66 -> 63

Source: LivePortrait, modules/stitching_retargeting_network.py.
"""
import jax
from flax import linen as nn
from jaxtyping import Array, Float

WIDTHS = {
    "stitching": (128, 128, 64, 65),
    "lip": (128, 128, 64, 63),
    "eye": (256, 256, 128, 128, 64, 63),
}
INPUTS = {"stitching": 126, "lip": 65, "eye": 66}


class KeypointMlp(nn.Module):
    """Linear layers with ReLU between; `which` names the widths."""

    which: str = "stitching"

    @nn.compact
    def __call__(self, x_BN: Float[Array, "B N"]) -> Float[Array, "B O"]:
        *hidden, last = WIDTHS[self.which]
        for i, width in enumerate(hidden):
            x_BN = jax.nn.relu(nn.Dense(width, name=f"linear_{i}")(x_BN))
        return nn.Dense(last, name=f"linear_{len(hidden)}")(x_BN)
