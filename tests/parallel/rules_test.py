"""Golden layout of all parameters and activations on a mesh (abstract: no devices needed)."""
import collections
import re

import jax
import jax.extend
import numpy as np
from flax import linen as nn
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from jamflow_jax.config import build
from jamflow_jax.model import AudioConfig, JamFlowConfig, MotionConfig, init
from jamflow_jax.model.jamflow import AudioInputs, MotionInputs
from jamflow_jax.parallel.mesh import AXES
from jamflow_jax.parallel.rules import RULES, shardings, uncut
from jamflow_jax.train import ahead
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.model_call import model_apply
from jamflow_jax.train.state import layout
from jamflow_jax.train.step import make_train_step

MESH = AbstractMesh((2, 4, 2, 2), AXES, axis_types=(AxisType.Auto,) * 4)


def specs():
    trunk = {"width": 32, "depth": 2, "heads": 2, "head_dim": 16}
    config = JamFlowConfig(audio=AudioConfig(**trunk, text_width=16), motion=MotionConfig(**trunk, mouth_dim=3, rest_dim=2))
    boxed = jax.eval_shape(lambda key: init(config, key), jax.random.key(0))
    return jax.tree.map(lambda s: s.spec, shardings(boxed, MESH))


def test_layout():
    layers = specs()["motion"]["stack"]["layers"]
    assert layers["ff_in"]["kernel"] == P(None, "fsdp", "tensor")
    assert layers["ff_out"]["kernel"] == P(None, "tensor", "fsdp")
    assert layers["qkv"]["kernel"] == P(None, "fsdp", "tensor", None)
    assert layers["modulation"]["kernel"] == P(None, "fsdp", "tensor")
    assert specs()["audio"]["text"]["table"] == P(None, "fsdp")


def test_an_axis_that_does_not_divide_is_replicated():
    shape = jax.eval_shape(lambda: __import__("flax").linen.LogicallyPartitioned(jax.numpy.zeros((6, 8)), ("embed", "mlp")))
    assert shardings({"w": shape}, MESH)["w"].spec == P(None, "tensor")


def test_what_does_not_divide_is_said_where_it_is_much():
    big, small = (nn.LogicallyPartitioned(jax.ShapeDtypeStruct(shape, "float32"), names) for shape, names in (
        ((12, 6, 3_000), ("layers", "embed", "mlp")), ((6,), ("embed",))))  # fmt: skip
    even = nn.LogicallyPartitioned(jax.ShapeDtypeStruct((8, 10_000), "float32"), ("embed", None))
    assert uncut({"small": small, "even": even}, MESH) == []
    assert uncut({"big": big, "even": even}, MESH) == [
        "73% of the parameters (0.000864 GB) are not cut over fsdp: config.mesh.fsdp is 4, which does not divide embed 6; "
        "2 does"]
    odd = nn.LogicallyPartitioned(jax.ShapeDtypeStruct((8, 15), "float32"), ("embed", "heads"))
    assert uncut({"odd": odd}, MESH) == [
        "100% of the parameters (4.8e-07 GB) are not cut over tensor: config.mesh.tensor is 2, which does not divide heads 15; "
        "divisors of 15 do, and 2 has none but 1"]


def _line(name: str, shape, spec) -> str:
    return f"{name}  {list(shape)}  {', '.join(str(axis).replace(chr(39), '') for axis in spec)}"


def _activations(jaxpr, found):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "sharding_constraint":
            found[_line("", eqn.outvars[0].aval.shape, eqn.params["sharding"].spec)] += 1
        for sub in jax.extend.core.jaxprs_in_params(eqn.params):
            _activations(sub, found)
    return found


def golden_text() -> str:
    """Every parameter of configs/base.py by name, and every layout its forward pass asks for with how often it does."""
    config = RunConfig()
    shapes, places = layout(config, MESH)
    flat = zip(jax.tree_util.tree_leaves_with_path(shapes.params), jax.tree.leaves(places.params))
    lines = [_line("/".join(key.key for key in path), leaf.shape, place.spec) for (path, leaf), place in flat]
    B, T, M = 16, 960, 256
    batch = {"length": jax.ShapeDtypeStruct((B,), "int32")}

    def forward(params, mel, text, mouth, rest, time, length):
        audio, motion = AudioInputs(mel, mel, text, time), MotionInputs(mouth, mouth, rest, time)
        with nn.logical_axis_rules(RULES):
            return model_apply(config, batch, ("audio", "motion"))({"params": params}, audio, motion, length_B=length)

    inputs = [jax.ShapeDtypeStruct((B, *shape), kind) for shape, kind in (
        ((T, 100), "float32"), ((T,), "int32"), ((M, 12), "float32"), ((M, 51), "float32"), ((), "float32"), ((), "int32"))]
    with jax.sharding.use_abstract_mesh(MESH):
        found = _activations(jax.make_jaxpr(forward)(shapes.params, *inputs).jaxpr, collections.Counter())
    lines += ["", "forward pass, 16 x 960 mel frames: asked for so often (parameters as they are used among them)"]
    return "\n".join([*lines, *(f"{count:3d} x{line}" for line, count in sorted(found.items()))]) + "\n"


def test_every_parameter_and_activation_lies_where_the_golden_file_says(golden):
    """After a change on purpose `python tests/parallel/rules_test.py > tests/golden/shardings.txt`; read the difference."""
    assert golden_text() == (golden / "shardings.txt").read_text()


def lowered_constraints() -> dict[str, int]:
    """How often the lowered train step of a tiny model asks for each layout, a loop's body once."""
    trunk = {"width": 32, "depth": 2, "heads": 2, "head_dim": 16, "remat": "full"}
    config = build(RunConfig, {"model": {"audio": {**trunk, "text_width": 16, "text_layers": 1},
                                         "motion": {**trunk, "mouth_dim": 3, "rest_dim": 2}, "joint_layers": (0,)}})  # fmt: skip
    state, batch = ahead.abstract_state(config, MESH), ahead.abstract_batch(config, 16, 240, MESH)
    with jax.sharding.use_abstract_mesh(MESH):
        step = make_train_step(config, MESH, np.ones(3, bool)).trace(state, batch, ("audio", "motion"))
        text = step.lower(lowering_platforms=("cpu",)).as_text()
    found = re.findall(r"sdy\.sharding_constraint \S+ <@\w+, \[(.*?)\]>", text)
    assert len(found) == text.count("sharding_constraint")
    return dict(collections.Counter(spec.replace('"', "").replace("data, fsdp", "examples") for spec in found))


def test_the_lowered_step_asks_for_every_layout_so_often():
    """Under a bare `with mesh:` flax's constraints vanish without a word, and a lost one is a slow or a wrong program elsewhere."""
    found = lowered_constraints()
    activations = {
        "{examples}, {sequence}, {}": 18,  # hidden states
        "{examples}, {sequence}, {tensor}": 18,  # hidden units
        "{examples}, {sequence}, {tensor}, {}": 24,  # queries, keys and values together, and attention's output
        "{examples}, {}, {tensor}, {}": 24,  # keys and values, whole on sequence
        "{examples}, {}": 4,  # time
    }
    gradients = {  # as their parameters lie
        "{fsdp}": 24, "{fsdp}, {}": 4, "{fsdp}, {tensor}": 12, "{fsdp}, {tensor}, {}": 4, "{tensor}, {fsdp}": 10,
        "{}, {fsdp}": 4, "{}, {}, {fsdp}": 6,
    }  # fmt: skip
    parameters = {  # whole on fsdp; and gradients of those that lie so
        "{}": 46, "{}, {}": 10, "{}, {}, {}": 8, "{}, {tensor}": 22, "{tensor}": 30, "{tensor}, {}": 20, "{}, {tensor}, {}": 8,
    }  # fmt: skip
    assert {kind: number for kind, number in found.items() if "examples" in kind} == activations
    assert {kind: number for kind, number in found.items() if "fsdp" in kind} == gradients
    assert {kind: number for kind, number in found.items() if "examples" not in kind and "fsdp" not in kind} == parameters


def test_moments_and_averages_lie_like_their_parameters():
    places = jax.tree.map(lambda place: place.spec, layout(RunConfig(), MESH)[1])
    adam = places.opt_state[1]
    assert places.params == places.ema == adam.mu == adam.nu
    assert any("fsdp" in spec for spec in jax.tree.leaves(places.params, is_leaf=lambda x: isinstance(x, P)))


if __name__ == "__main__":
    print(golden_text(), end="")
