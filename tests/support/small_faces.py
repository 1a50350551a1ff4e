"""LivePortrait's networks made small, with random weights: for tests of what happens around them.

The structure stays; widths and depths are the modules' constants, which are set while a test (or a program of its own) runs.
"""
import jax
import numpy as np

from jamflow_jax.face import appearance, generator, motion, warping
from jamflow_jax.torch_io import liveportrait

SIZES = [
    (motion, "DEPTHS", (1, 1, 1, 1)), (motion, "WIDTHS", (8, 8, 16, 16)),
    (appearance, "CHANNELS", 4), (appearance, "DEPTH", 4), (appearance, "BLOCKS", 1),
    (warping, "DOWN", (4, 4, 8, 8, 8)), (warping, "UP", (8, 8, 8, 4, 4)), (warping, "FEATURES", 16),
    (generator, "HIDDEN", 8), (generator, "MIDDLE", 1),
]  # fmt: skip


def shrink(setattr=setattr) -> None:
    """Sets the constants, with a monkeypatch's `setattr` until the end of its test."""
    for module, name, value in SIZES:
        setattr(module, name, value)
    liveportrait.template.cache_clear()


def params(networks: tuple[str, ...] = tuple(liveportrait.FILES)) -> dict:
    """Random parameters of the networks as they are now, with which signals keep their size."""
    rng = np.random.default_rng(0)

    def leaf(like):
        fan = max(1, int(np.prod(like.shape[:-1])) if len(like.shape) > 1 else 100)
        return rng.standard_normal(like.shape, np.float32) * np.float32(fan**-0.5)

    return {name: jax.tree.map(leaf, liveportrait.template(name)) for name in networks}


def save(folder, network: str = "motion") -> None:
    """A file of the release's layout with random tensors of the network as it is now, in one folder."""
    from flax import traverse_util
    from safetensors.numpy import save_file

    leaves = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(liveportrait.template(network)).items()}
    rng = np.random.default_rng(0)
    shapes = {key: shape for row in liveportrait.rows(network) for key, shape in liveportrait.wanted_shapes(row, leaves).items()}
    tensors = {key: (0.1 * rng.standard_normal(shape)).astype(np.float32) for key, shape in shapes.items()}
    name = liveportrait.FILES[network].rsplit("/", 1)[-1].replace(".pth", ".safetensors")
    save_file(tensors, str(folder / name))
