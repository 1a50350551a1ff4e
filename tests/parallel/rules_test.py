"""Golden layout of the parameters on a mesh (abstract: no devices needed)."""
import jax
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from jamflow_jax.model import AudioConfig, JamFlowConfig, MotionConfig, init
from jamflow_jax.parallel.rules import shardings

MESH = AbstractMesh((2, 4, 2), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def specs():
    trunk = {"width": 32, "depth": 2, "heads": 2, "head_dim": 16}
    config = JamFlowConfig(audio=AudioConfig(**trunk, text_width=16), motion=MotionConfig(**trunk, mouth_dim=3, rest_dim=2))
    boxed = jax.eval_shape(lambda key: init(config, key), jax.random.key(0))
    return jax.tree.map(lambda s: s.spec, shardings(boxed, MESH))


def test_layout():
    layers = specs()["motion"]["stack"]["layers"]
    assert layers["ff_in"]["kernel"] == P(None, "fsdp", "tensor")
    assert layers["ff_out"]["kernel"] == P(None, "tensor", "fsdp")
    assert layers["qkv"]["kernel"] == P(None, "fsdp", None, "tensor", None)
    assert layers["modulation"]["kernel"] == P(None, "fsdp", "tensor")
    assert specs()["audio"]["text"]["table"] == P(None, "fsdp")


def test_an_axis_that_does_not_divide_is_replicated():
    shape = jax.eval_shape(lambda: __import__("flax").linen.LogicallyPartitioned(jax.numpy.zeros((6, 8)), ("embed", "mlp")))
    assert shardings({"w": shape}, MESH)["w"].spec == P(None, "tensor")
