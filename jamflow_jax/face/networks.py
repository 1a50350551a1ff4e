"""The five networks with their parameters on the devices: batches of pictures in, batches of faces or pictures out.

One jitted program each, over a fixed batch (the last one is padded), split over the devices along the batch; parameters are on
every device. `dtype` is what F, M, W and G compute in; keypoints, places and statistics are float32 always.
"""
import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, UInt8

from jamflow_jax.face.animate import Face, from_heads
from jamflow_jax.face.appearance import Appearance
from jamflow_jax.face.crop import INPUT
from jamflow_jax.face.generator import Generator
from jamflow_jax.face.motion import Motion
from jamflow_jax.face.warping import Warping


def default_dtype() -> jnp.dtype:
    """bfloat16 where matrix units have it, float32 on CPUs."""
    return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)


def default_batch() -> int:
    """8 frames; one on CPUs, where more make none cheaper (docs/faces.md) and each takes a gigabyte."""
    return 1 if jax.default_backend() == "cpu" else 8


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
    """What is loaded once.

    Attributes:
      params: of `torch_io.liveportrait.load`, those of the networks that are used.
      batch: frames at once, over all devices (rounded up to a multiple of their number).
      dtype: see the top.
      size: pixels of a crop's side, a multiple of 128; pictures have twice as many. The weights are trained for 256.
    """

    params: dict[str, Any]
    batch: int = dataclasses.field(default_factory=default_batch)
    dtype: jnp.dtype = dataclasses.field(default_factory=default_dtype)
    size: int = INPUT

    def __post_init__(self):
        devices = np.array(jax.devices())
        count = len(devices)
        object.__setattr__(self, "batch", max(1, -(-self.batch // count)) * count)
        mesh = Mesh(devices, ("batch",))
        object.__setattr__(self, "_split", NamedSharding(mesh, PartitionSpec("batch")))
        object.__setattr__(self, "_whole", NamedSharding(mesh, PartitionSpec()))
        kinds = {name: np.float32 if name == "stitching" else self.dtype for name in self.params}
        placed = {
            name: jax.device_put(jax.tree.map(lambda a, kind=kinds[name]: np.asarray(a, kind), tree), self._whole)
            for name, tree in self.params.items()
        }
        object.__setattr__(self, "params", placed)

    def faces(self, crops: Iterable[UInt8[np.ndarray, "S S 3"]]) -> Iterator[Face]:
        """M: the motion of crops, in batches as they come; memory holds one batch."""
        for pictures, count in batches(crops, self.batch):
            face = self._faces(self.params["motion"], jax.device_put(pictures, self._split))
            yield Face(*(np.asarray(a)[:count] for a in face))

    def volume(self, crops_N: UInt8[np.ndarray, "N S S 3"]) -> Float[Array, "N D H W C"]:
        """F: the feature volumes of one crop, or of `batch` crops."""
        where = self._split if len(crops_N) == self.batch > 1 else self._whole
        return self._volume(self.params["appearance"], jax.device_put(crops_N, where))

    def pictures(
        self, volume: Float[Array, "N D H W C"], source_NK3: Float[np.ndarray, "N 21 3"], driving_BK3: Float[np.ndarray, "B 21 3"]
    ) -> UInt8[Array, "batch S2 S2 3"]:
        """G(W(...)) for up to `batch` frames, which have one source or each their own; rows past them repeat the last.

        They are on their way when this returns: the host goes on, until it asks for the values.
        """
        driving = pad(np.asarray(driving_BK3, np.float32), self.batch)
        source = np.asarray(source_NK3, np.float32)
        own = len(volume) > 1
        source = jax.device_put(pad(source, self.batch) if own else source, self._split if own else self._whole)
        driving = jax.device_put(driving, self._split)
        return self._pictures(self.params["warping"], self.params["generator"], volume, source, driving)

    @functools.cached_property
    def _faces(self):
        return jax.jit(lambda params, x: from_heads(Motion(self.dtype).apply({"params": params}, scaled(x))))

    @functools.cached_property
    def _volume(self):
        return jax.jit(lambda params, x: Appearance(self.dtype).apply({"params": params}, scaled(x)))

    @functools.cached_property
    def _pictures(self):
        def run(warping, generator, volume, source, driving):
            warped = Warping(self.dtype).apply({"params": warping}, volume, source, driving)
            picture = Generator(self.dtype).apply({"params": generator}, warped.feature)
            return (255 * picture.clip(0, 1)).astype(jnp.uint8)  # cut, not rounded: as the original

        return jax.jit(run)


def scaled(pictures: UInt8[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """0 .. 255 -> 0 .. 1."""
    return pictures.astype(jnp.float32) / 255


def pad(array: np.ndarray, count: int) -> np.ndarray:
    """The last row repeated until there are `count`."""
    return np.concatenate([array, np.repeat(array[-1:], count - len(array), 0)]) if len(array) < count else array


def batches(items: Iterable[np.ndarray], size: int) -> Iterator[tuple[np.ndarray, int]]:
    """(stacked items, padded to `size`; how many are real)."""
    held: list[np.ndarray] = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield np.stack(held), size
            held = []
    if held:
        yield pad(np.stack(held), size), len(held)
