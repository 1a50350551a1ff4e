"""Mesh shapes, and a batch put on it."""
import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from jamflow_jax.errors import ConfigError
from jamflow_jax.parallel.mesh import batch_shards, make_mesh, put_batch


def test_one_axis_takes_what_is_left():
    mesh = make_mesh(devices=jax.devices()[:1])
    assert dict(mesh.shape) == {"data": 1, "fsdp": 1, "tensor": 1, "sequence": 1} and batch_shards(mesh) == 1
    assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize("sizes", [(2, -1, 1), (-1, -1, 1), (0, 1, 1), (1, 1, 3)])
def test_sizes_that_do_not_fit(sizes):
    with pytest.raises(ConfigError, match=r"config\.mesh: data .* 1 devices"):
        make_mesh(*sizes, devices=jax.devices()[:1])


def test_put_batch():
    mesh = make_mesh(devices=jax.devices()[:1])
    batch = put_batch({"length": np.arange(4, dtype=np.int32)}, mesh)
    assert batch["length"].sharding.spec[0] == ("data", "fsdp")
    np.testing.assert_array_equal(batch["length"], np.arange(4))
