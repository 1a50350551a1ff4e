"""The mesh (data, fsdp, tensor, sequence) over all devices of all processes, and how a batch gets onto it.

Axes are Auto and the mesh is entered with `jax.set_mesh`: under a bare `with mesh:` flax's logical constraints vanish without a
word, and with the default Explicit axes they would act as assertions.

Several slices (TPU slices, each a torus of fast links, joined by the data-centre network) lie along `data`: what crosses the slow
network is one sum of gradients a step, never a parameter that a layer waits for.
"""
import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jamflow_jax.errors import ConfigError
from jamflow_jax.parallel.rules import BATCH_AXES

AXES = ("data", "fsdp", "tensor", "sequence")


def make_mesh(
    data: int = 1, fsdp: int = -1, tensor: int = 1, sequence: int = 1, slices: int = 1,
    devices: Sequence[jax.Device] | None = None,
) -> Mesh:  # fmt: skip
    """The mesh over `devices` (all of them by default); one axis may be -1 and takes what is left.

    Raises:
      ConfigError: sizes that do not multiply to the number of devices; `slices` that are not those the devices come in.
    """
    devices = jax.devices() if devices is None else devices
    # of GPUs JAX numbers the hosts as slices: theirs is one network, whatever it says
    found = len({device.slice_index if device.platform == "tpu" and hasattr(device, "slice_index") else 0 for device in devices})
    if slices != found:
        raise ConfigError(f"config.mesh.slices is {slices}, but the devices come in {found} slice{'s' * (found > 1)}")
    sizes = axis_sizes(data, fsdp, tensor, sequence, len(devices), slices)
    within, across = (sizes[0] // slices, *sizes[1:]), (slices, 1, 1, 1)

    def arranged(split: bool) -> np.ndarray:
        if slices == 1:
            return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=split)
        return mesh_utils.create_hybrid_device_mesh(within, across, devices, allow_split_physical_axes=split)

    try:
        chips = arranged(False)
    except NotImplementedError:  # an axis that is no product of the torus's sides: 8 of 4x4x4 is one side and half of another
        chips = arranged(True)
    return Mesh(chips, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def axis_sizes(data: int, fsdp: int, tensor: int, sequence: int, devices: int, slices: int = 1) -> tuple[int, int, int, int]:
    """Sizes of AXES that multiply to `devices`, -1 filled in. Raises ConfigError: there are none, or slices do not divide data."""
    sizes = [data, fsdp, tensor, sequence]
    rest = math.prod(size for size in sizes if size != -1)
    wrong = sizes.count(-1) > 1 or any(size == 0 or size < -1 for size in sizes) or devices % rest
    if not wrong:
        sizes = [devices // rest if size == -1 else size for size in sizes]
    if wrong or math.prod(sizes) != devices:
        shape = ", ".join(f"{axis} {size}" for axis, size in zip(AXES, (data, fsdp, tensor, sequence)))
        raise ConfigError(f"config.mesh: {shape} do not multiply to the {devices} devices there are (one may be -1)")
    if sizes[0] % slices:
        raise ConfigError(f"config.mesh.data is {sizes[0]}: the {slices} slices lie along it, so it must be a multiple of them")
    return tuple(sizes)


def batch_shards(mesh: Mesh) -> int:
    """Into how many parts the examples of a global batch are cut."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Examples over data and fsdp; replicated over tensor and sequence."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_parts(mesh: Mesh, process: int | None = None) -> tuple[int, ...]:
    """Which of the `batch_shards` equal parts of a global batch lie on devices of a process (None: of this one).

    Where `tensor` or `sequence` goes across processes several have the same part; the parts of one need not be neighbours.
    """
    process = jax.process_index() if process is None else process
    places = mesh.devices.reshape(batch_shards(mesh), -1)  # data and fsdp are the first axes
    return tuple(part for part, devices in enumerate(places) if any(device.process_index == process for device in devices))


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """The examples of this process's `batch_parts`, part after part -> global arrays on the mesh.

    Raises:
      ValueError: they do not divide into these parts.
    """
    sharding, parts, shards = batch_sharding(mesh), batch_parts(mesh), batch_shards(mesh)

    def put(name: str, value: np.ndarray) -> jax.Array:
        share, rest = divmod(len(value), len(parts))
        if rest:
            raise ValueError(f"{name}: {len(value)} examples do not divide into {len(parts)} parts")

        def rows(index: tuple[slice, ...]) -> np.ndarray:
            here = parts.index((index[0].start or 0) // share) * share
            return value[here : here + share]

        return jax.make_array_from_callback((shards * share, *value.shape[1:]), sharding, rows)

    return {name: put(name, value) for name, value in batch.items()}
