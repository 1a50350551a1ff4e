"""Runs, names and options of a sweep; every mistake names the file and what is wrong in it."""
import dataclasses
from fractions import Fraction

import pytest

from jamflow_jax.errors import ConfigError
from launch import run_config
from launch.sweeps import execute, plan


def test_rows_that_train_alike_share_a_training(sweep):
    runs = plan.plan(sweep)
    assert [run.name for run in runs[:2]] == [f"quickstart_steps=5_warmup=1_lr={rate}_seed=0" for rate in (0.1, 0.3)]
    assert len(runs) == 6 and [run.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    assert runs[0].rows == ("low", "low 9") and runs[0].steps == 5
    words = [evaluation.words for evaluation in runs[0].evaluations]
    assert words == [("--data", "runs/quickstart/data", "--steps", "4"), ("--data", "runs/quickstart/data", "--steps", "9")]
    assert runs == plan.plan(sweep)


def test_the_smallest_form_is_a_sweep_of_its_own(sweep):
    small = plan.smallest(sweep)
    assert [run.name for run in plan.plan(small)] == [f"quickstart_steps=5_warmup=1_lr={rate}_seed=7" for rate in (0.1, 0.3)]
    assert small.compared_with == "low"


def test_a_part_keeps_what_its_rows_are_compared_with(sweep):
    some = plan.part(sweep, ["bad"], [1])
    assert list(some.named_rows()) == ["low", "bad"] and some.seeds == (1,)
    assert plan.part(sweep) == dataclasses.replace(sweep, baseline="low")
    with pytest.raises(ConfigError, match="no row 'hig'; there are 'low'"):
        plan.part(sweep, ["hig"])
    with pytest.raises(ConfigError, match="no seed 9; there are 0, 1"):
        plan.part(sweep, [], [9])


def test_a_cascade_names_the_training_that_speaks(sweep):
    rows = {**sweep.named_rows(), "low": {"optim.lr": 0.1, "evaluate.speech_from": "high"}}
    with pytest.raises(ConfigError, match="row 'low': the row 'high' of its speech_from must stand above it"):
        plan.plan(dataclasses.replace(sweep, rows=rows))
    rows = {"high": rows.pop("high"), **rows}
    cascade = plan.part(dataclasses.replace(sweep, rows=rows, baseline="bad"), ["low"])
    assert list(cascade.named_rows()) == ["high", "low", "bad"]
    runs = plan.plan(cascade)
    assert runs[4].seed == 1 and runs[4].evaluations[0].words[-1] == plan.RUNS + runs[3].name
    assert execute.commands("here", runs[4])[1][-1] == f"here/runs/{runs[3].name}"


@pytest.mark.parametrize("values, name", [
    ({}, "small"),
    ({"model.joint_layers": (0, 1)}, "small_joint_layers=0,1"),
    ({"model.joint_layers": ()}, "small_joint_layers=none"),
    ({"model.audio.width": 64, "model.motion.width": 64}, "small_audio.width=64_motion.width=64"),
    ({"a.window": Fraction(7, 25)}, "small_window=7-25"),
])
def test_names_can_be_read(values, name):
    assert plan.name_of(values, "small") == name


def test_long_and_strange_names_end_with_a_hash():
    long = plan.name_of({f"group.field_{i}": i for i in range(20)}, "small")
    assert len(long) == plan.LONGEST_NAME and long == plan.name_of({f"group.field_{i}": i for i in range(20)}, "small")
    assert long != plan.name_of({f"group.field_{i}": i + (i == 19) for i in range(20)}, "small")
    assert plan.name_of({"path": "a b"}) != plan.name_of({"path": "a:b"})


@pytest.mark.parametrize("field, value", [
    ("model.joint_layers", ()), ("model.joint_layers", (2,)), ("model.joint_layers", None), ("data.buckets", (390,)),
    ("data.crop", True),
    ("model.windows.motion_audio", Fraction(7, 25)), ("optim.lr", 2e-3), ("objective.hide_probs", (0.3, 0.5, 0.2)),
])  # fmt: skip
def test_values_are_read_back_as_they_were(field, value):
    values: dict = {}
    run_config.put(values, field, plan.text(value))
    for group in field.split("."):
        values = values[group]
    assert values == (str(value) if isinstance(value, Fraction) else list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("old, new, said", [
    ('"optim.lr": 0.3', '"optim.lrr": 0.3', "rates.py, row 'high': config.optim.lrr: no such field, did you mean 'lr'?"),
    ('"optim.lr": 0.3', '"optim.lr": "fast"', "rates.py, row 'high': config.optim.lr: expected float"),
    ('"evaluate.steps": 9', '"evaluate.stepps": 9', "rates.py, row 'low 9': jamflow evaluate: unrecognized arguments: --stepps"),
    ('"evaluate.steps": 9', '"evaluate.method": "rk4"', "row 'low 9': jamflow evaluate: argument --method: invalid choice"),
    ('"question"', '"questoin"', "rates.py.questoin: no such field, did you mean 'question'?"),
    ('"quickstart"', '"quikstart"', "did you mean configs/quickstart.py?"),
    ('"seeds": (0, 1)', '"seeds": (0, 0)', "seeds (0, 0) is empty or has one twice"),
    ('"rows": ("low", "high")', '"rows": ("low", "hig")', "no row 'hig'; the rows are 'low', 'high', 'bad', 'low 9'"),
    ('"evaluate": {"steps": 4},', "", "a row has an evaluate. option, but the sweep has no evaluate"),
    ("return {", "return undefined + {", "rates.py: NameError"),
])  # fmt: skip
def test_mistakes_are_named(file, old, new, said):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as error:
        plan.plan(plan.read(str(file)))
    assert said in str(error.value)


def test_an_unknown_sweep_names_those_there_are():
    with pytest.raises(ConfigError, match="joint_layer: no such file; did you mean configs/sweeps/joint_layers.py"):
        plan.read("joint_layer")
