"""Mesh shapes, and a batch put on it."""
import dataclasses
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from jamflow_jax.errors import ConfigError
from jamflow_jax.parallel.mesh import batch_parts, batch_shards, make_mesh, put_batch


def test_one_axis_takes_what_is_left():
    mesh = make_mesh(devices=jax.devices()[:1])
    assert dict(mesh.shape) == {"data": 1, "fsdp": 1, "tensor": 1, "sequence": 1} and batch_shards(mesh) == 1
    assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize("sizes", [(2, -1, 1), (-1, -1, 1), (0, 1, 1), (1, 1, 3)])
def test_sizes_that_do_not_fit(sizes):
    with pytest.raises(ConfigError, match=r"config\.mesh: data .* 1 devices"):
        make_mesh(*sizes, devices=jax.devices()[:1])


@dataclasses.dataclass(frozen=True)
class Chip:
    """As much of a TPU, four to a slice, as a mesh asks for."""

    id: int
    slice_index: int
    platform: str = "tpu"
    device_kind: str = "simulated"
    process_index: int = 0
    core_on_chip: int = 0

    @property
    def coords(self):
        return [self.id % 2, self.id % 4 // 2, 0]


class Torus(Chip):
    """One of 4 x 4 x 4."""

    @property
    def coords(self):
        return [self.id % 4, self.id // 4 % 4, self.id // 16]


def test_slices_lie_along_data_and_no_other_axis_crosses_them():
    chips = [Chip(i, i // 4) for i in range(8)]
    mesh = make_mesh(data=4, fsdp=2, slices=2, devices=chips[::-1])
    slices = np.vectorize(lambda chip: chip.slice_index)(mesh.devices)
    assert dict(mesh.shape) == {"data": 4, "fsdp": 2, "tensor": 1, "sequence": 1}
    assert slices[:2].max() == 0 and slices[2:].min() == 1
    assert {chip.id for chip in mesh.devices.flat} == set(range(8))


def test_an_axis_may_be_a_side_of_the_torus_and_half_of_another():
    """fsdp 8 of configs/3b.py on v5p:4x4x4, which jax.make_mesh refuses."""
    chips = [Torus(i, 0) for i in range(64)]
    mesh = make_mesh(data=-1, fsdp=8, devices=chips)
    assert dict(mesh.shape) == {"data": 8, "fsdp": 8, "tensor": 1, "sequence": 1}
    spread = [np.ptp([chip.coords for chip in row.flat], axis=0).tolist() for row in mesh.devices]
    assert all(sorted(sides) == [0, 1, 3] for sides in spread)  # 1 x 2 x 4 neighbours hold one copy of the parameters


@pytest.mark.parametrize("sizes, says", [
    ({"slices": 7, "data": -1, "fsdp": 1}, "slices is 7, but the devices come in 2 slices"),
    ({"slices": 1, "data": -1, "fsdp": 1}, "slices is 1, but the devices come in 2 slices"),
    ({"slices": 2, "data": 1, "fsdp": 8}, "data is 1: the 2 slices lie along it"),
])  # fmt: skip
def test_slices_there_are_not(sizes, says):
    with pytest.raises(ConfigError, match=says):
        make_mesh(**sizes, devices=[Chip(i, i // 4) for i in range(8)])


def test_hosts_of_gpus_are_no_slices():
    """JAX numbers them in `slice_index` too."""
    mesh = make_mesh(fsdp=8, devices=[Chip(i, i // 4, platform="gpu", device_kind="NVIDIA H100") for i in range(8)])
    assert dict(mesh.shape) == {"data": 1, "fsdp": 8, "tensor": 1, "sequence": 1}


def test_put_batch():
    mesh = make_mesh(devices=jax.devices()[:1])
    batch = put_batch({"length": np.arange(4, dtype=np.int32)}, mesh)
    assert batch["length"].sharding.spec[0] == ("data", "fsdp")
    np.testing.assert_array_equal(batch["length"], np.arange(4))


def parts(order, **sizes):
    """The parts of the batch of each process, on devices of the processes in `order`."""
    mesh = make_mesh(**sizes, devices=[Chip(i, 0, "simulated", process_index=process) for i, process in enumerate(order)])
    return [batch_parts(mesh, process) for process in range(max(order) + 1)]


def test_a_process_reads_what_its_devices_need():
    assert parts([0, 0, 1, 1], fsdp=4) == [(0, 1), (2, 3)]
    assert parts([0, 1, 2, 3], data=2, fsdp=2) == [(0,), (1,), (2,), (3,)]
    assert parts([0, 0, 1, 1], fsdp=2, tensor=2) == [(0,), (1,)]
    assert parts([0, 1, 2, 3], fsdp=2, tensor=2) == [(0,), (0,), (1,), (1,)]  # two processes at one place of (data, fsdp)
    assert parts([0, 1, 2, 3], fsdp=1, tensor=2, sequence=2) == [(0,)] * 4
    assert parts([0, 0, 1, 1], data=2, fsdp=1, sequence=2) == [(0,), (1,)]
    assert parts([0, 1, 0, 1], fsdp=4) == [(0, 2), (1, 3)]  # no neighbours
    assert parts([0, 1, 1, 0], fsdp=2, tensor=2) == [(0, 1), (0, 1)]  # each a device of both
    assert parts([0, 1, 1, 1], fsdp=4) == [(0,), (1, 2, 3)]


def test_what_does_not_divide_is_not_put():
    mesh = make_mesh(devices=[Chip(i, 0, "simulated") for i in range(4)])
    with pytest.raises(ValueError, match="length: 6 examples do not divide into 4 parts"):
        put_batch({"length": np.arange(6)}, mesh)


PUT = """
import jax, numpy as np
from jamflow_jax.parallel.mesh import batch_parts, batch_shards, make_mesh, put_batch
from jamflow_jax.parallel.processes import start_processes
start_processes(120, 30, 60)
whole = np.arange(24.0).reshape(8, 3)
own, mixed = jax.devices(), jax.devices()[::2] + jax.devices()[1::2]
for sizes, order in (
    ({"fsdp": 4}, own), ({"fsdp": 4}, mixed), ({"fsdp": 2, "tensor": 2}, own), ({"fsdp": 2, "tensor": 2}, mixed),
    ({"fsdp": 1, "tensor": 2, "sequence": 2}, own), ({"data": 2, "fsdp": 1, "sequence": 2}, mixed),
):
    mesh = make_mesh(**sizes, devices=order)
    mine = np.concatenate([np.split(whole, batch_shards(mesh))[part] for part in batch_parts(mesh)])
    put = put_batch({"x": mine}, mesh)["x"]
    assert put.shape == whole.shape and len(put.addressable_shards) == 2, (sizes, put.shape)
    for shard in put.addressable_shards:
        np.testing.assert_array_equal(shard.data, whole[shard.index], err_msg=str(sizes))
"""


def test_each_device_of_two_processes_gets_its_rows():
    """Two devices each, in either order, so that an axis lies within a process or goes across."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        env = {**os.environ, "JAX_COORDINATOR_ADDRESS": f"localhost:{free.getsockname()[1]}", "JAX_NUM_PROCESSES": "2",
               "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}  # fmt: skip
    words = [sys.executable, "-c", PUT]
    both = [subprocess.Popen(words, env={**env, "JAX_PROCESS_ID": number}, stderr=subprocess.PIPE, text=True) for number in "01"]
    try:
        errors = [process.communicate(timeout=300)[1] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], errors
