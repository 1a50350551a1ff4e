"""The formula of a step's temporaries against what the TPU's compiler found (docs/scale.md)."""
import pytest

from jamflow_jax.train.roofline import Parameters, temporaries_by_formula
from jamflow_jax.train.variants import Variant
from launch import run_config

GIB = 2**30
PARAMETERS = {"base": 667_918_448, "3b": 2_892_415_600, "10b": 9_670_731_888}


def cut(name, fsdp):
    return Parameters(PARAMETERS[name], PARAMETERS[name], PARAMETERS[name] // fsdp)


@pytest.mark.parametrize("name, data, fsdp, examples, accumulate, remat, compiled", [
    ("base", 1, 16, 320, 1, "full", 6.10), ("base", 1, 4, 80, 1, "none", 69.87), ("base", 1, 4, 80, 1, "dots", 12.09),
    ("base", 1, 4, 80, 1, "attention", 6.79), ("base", 1, 4, 80, 1, "full", 5.73), ("base", 1, 4, 80, 2, "full", 4.15),
    ("3b", 8, 8, 1280, 2, "full", 8.69), ("10b", 4, 64, 5120, 2, "full", 10.50), ("10b", 16, 64, 5120, 1, "full", 5.18),
])  # fmt: skip
def test_a_step_takes_nearly_what_the_formula_says(name, data, fsdp, examples, accumulate, remat, compiled):
    config = Variant(examples, accumulate, remat).of(run_config.load(name, []))
    mesh = {"data": data, "fsdp": fsdp, "tensor": 1, "sequence": 1}
    assert 0.65 < compiled * GIB / temporaries_by_formula(config, mesh, examples, 945, cut(name, fsdp)) < 1.1


def test_microbatches_keep_the_sum_of_their_gradients_beside_each_ones():
    config, mesh = run_config.load("base", []), {"data": 1, "fsdp": 8, "tensor": 1, "sequence": 1}
    once, twice = (
        temporaries_by_formula(Variant(clips, parts, "full").of(config), mesh, clips, 945, cut("base", 8))
        for clips, parts in ((160, 1), (320, 2)))
    assert twice - once == pytest.approx(4 * PARAMETERS["base"] / 8, abs=2)
