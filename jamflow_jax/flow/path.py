"""The straight path from noise to data, and the noise it starts from.

    (1)  x_t = (1 - t) x_0 + t x_1,   x_0 ~ N(0, 1),  x_1 data,  t in [0, 1]
    (2)  v*  = d x_t / d t = x_1 - x_0

Noise is drawn frame by frame, key_j = fold_in(key, j): the first frames of a longer bucket are the frames of a shorter one, so
that padding never changes what an example sees.
"""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def interpolate(
    x0_BLD: Float[Array, "B L D"], x1_BLD: Float[Array, "B L D"], time_B: Float[Array, "B"]
) -> Float[Array, "B L D"]:
    """Point x_t of the path (1), one time per example."""
    t = time_B[:, None, None]
    return (1 - t) * x0_BLD + t * x1_BLD


def velocity(x0_BLD: Float[Array, "B L D"], x1_BLD: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
    """The regression target (2); it does not depend on t."""
    return x1_BLD - x0_BLD


def noise(keys_B: Key[Array, "B"], frames: int, width: int) -> Float[Array, "B L D"]:
    """Standard normal x_0 [B, frames, width]; frame j depends on (key, j) alone, not on `frames`."""

    def frame(key, j):
        return jax.random.normal(jax.random.fold_in(key, j), (width,), jnp.float32)

    return jax.vmap(jax.vmap(frame, (None, 0)), (0, None))(keys_B, jnp.arange(frames))
