"""The mesh (data, fsdp, tensor) over all devices of all processes, and how a batch gets onto it.

Axes are Auto and the mesh is entered with `jax.set_mesh`: under a bare `with mesh:` flax's logical constraints vanish without a
word, and with the default Explicit axes they would act as assertions.
"""
import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jamflow_jax.errors import ConfigError
from jamflow_jax.parallel.rules import BATCH_AXES

AXES = ("data", "fsdp", "tensor")


def make_mesh(data: int = 1, fsdp: int = -1, tensor: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over `devices` (all of them by default); one axis may be -1 and takes what is left.

    Raises:
      ConfigError: sizes that do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [data, fsdp, tensor]
    rest = math.prod(size for size in sizes if size != -1)
    wrong = sizes.count(-1) > 1 or any(size == 0 or size < -1 for size in sizes) or len(devices) % rest
    if not wrong:
        sizes = [len(devices) // rest if size == -1 else size for size in sizes]
    if wrong or math.prod(sizes) != len(devices):
        shape = ", ".join(f"{axis} {size}" for axis, size in zip(AXES, (data, fsdp, tensor)))
        raise ConfigError(f"config.mesh: {shape} do not multiply to the {len(devices)} devices there are (one may be -1)")
    return jax.make_mesh(tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def batch_shards(mesh: Mesh) -> int:
    """Into how many parts the examples of a global batch are cut."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Examples over data and fsdp; replicated over tensor."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's examples -> global arrays on the mesh, process after process along the first axis."""
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}
