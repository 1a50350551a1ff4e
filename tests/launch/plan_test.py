"""Plans by formula, in lines and JSON; bad topologies; a tiny model compiled for four TPU chips where libtpu is installed."""
import importlib.util
import json
import os
import subprocess
import sys

import pytest
from jax.sharding import AbstractMesh, AxisType

from jamflow_jax.parallel import topology
from jamflow_jax.parallel.mesh import AXES
from jamflow_jax.train import roofline
from jamflow_jax.train.state import clips_not_cut
from launch import plan, run_config


def test_a_gpu_plan_is_by_formula_and_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert plan.main(["--config", "base", "--topology", "h200x8", "--json", str(tmp_path / "p.json")]) == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "p.json").read_text())
    assert "BY FORMULA" in said and "FITS" in said and found["by_formula"]
    # parameters, averages and moments: 16 bytes a parameter over 8 devices
    state = sum(found["bytes"][name] for name in ("params", "ema", "optimizer"))
    assert state == pytest.approx(16 * found["parameters"] / 8, rel=0.01)
    assert 0.1 < found["mfu"]["slowest"] <= found["mfu"]["fastest"] < 1
    assert len(found["tried"]) == 2 and found["tried"][0]["remat"] == "full" and found["better_by_formula"] is None


@pytest.mark.parametrize("topology, more, says", [
    ("h200x7", [], "100% of the parameters (2.67 GB) are not cut over fsdp: config.mesh.fsdp is 7, which does not divide "),
    ("h100x48", [], "embed 1,024, text 512; 16 does"),
    ("h100x48", ["--config.mesh.data=3", "--config.mesh.fsdp=16"], None),
])  # fmt: skip
def test_a_mesh_that_does_not_divide_the_model_is_said_and_counted(tmp_path, capsys, monkeypatch, topology, more, says):
    """Each device holds the whole state then, its gradients and all, and nothing is gathered."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    plan.main(["--config", "base", "--topology", topology, "--json", str(tmp_path / "p.json"), "--tries", "1", *more])
    said, found = capsys.readouterr().out, json.loads((tmp_path / "p.json").read_text())
    parts, kinds = 16 if says is None else 1, {c["kind"] for c in found["collectives"]}
    assert found["bytes"]["params"] == pytest.approx(4 * found["parameters"] / parts, rel=0.02)
    assert (found["bytes"]["temporary"] > 4 * found["parameters"]) == bool(says) == ("all-gather" not in kinds)
    assert says in said if says else "are not cut" not in said


@pytest.mark.parametrize("axis, size, frames", [("sequence", 2, 361), ("tensor", 3, 960)])
def test_devices_that_cannot_share_an_example_count_once(axis, size, frames):
    config, mesh = run_config.load("base", []), {"data": 1, "fsdp": 2, "tensor": 1, "sequence": 1, axis: size}
    assert roofline.sharing(config, mesh, frames) == {**mesh, axis: 1}
    assert roofline.sharing(config, {**mesh, axis: 2}, 960) == {**mesh, axis: 2}


def test_clips_that_sequence_does_not_cut_are_said():
    config, mesh = run_config.load("base", []), AbstractMesh((1, 1, 1, 2), AXES, axis_types=(AxisType.Auto,) * 4)
    (line,) = clips_not_cut(config, mesh, (361, 960))
    assert line.startswith("clips of 361 mel frames are not cut over sequence: config.mesh.sequence is 2, which does not divide")


def test_what_does_not_fit_is_cut_finer_and_the_exit_code_says_whether_that_helped(capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert plan.main(["--config", "10b", "--topology", "h100x8", "--config.mesh.fsdp=8"]) == 0
    said = capsys.readouterr().out
    assert "does NOT fit" in said and "accumulate 32: FITS" in said and "--config.optim.accumulate=32" in said
    assert plan.main(["--config", "10b", "--topology", "h100x8", "--config.mesh.fsdp=1"]) == 1  # every device holds all of it
    assert "accumulate 1: DOES NOT FIT" in capsys.readouterr().out


@pytest.fixture
def compiler(monkeypatch):
    """A compiler for v5e:4x4 that finds twice the formula's temporaries; how many clips it was given, and which remat; those
    of `refused` it does not compile, and says nothing of why."""
    from jamflow_jax.train import ahead, roofline

    compiled, refused = [], set()

    def compile_step(config, mesh, examples, frames):
        state, batch = ahead.abstract_state(config, mesh), ahead.abstract_batch(config, examples, frames, mesh)
        compiled.append((examples, config.model.motion.remat))
        temporary = 2 * roofline.temporaries_by_formula(config, dict(mesh.shape), examples, frames, ahead.parameters(state))
        text = "" if compiled[-1] in refused else "ENTRY %step () -> () {\n}\n"
        return ahead.Compiled(text, ahead.arguments(state, batch), temporary, 0, 1.0)

    monkeypatch.setattr(ahead, "compile_step", compile_step)
    monkeypatch.setattr(plan, "_mesh", lambda config, place: AbstractMesh((1, 16, 1, 1), AXES, axis_types=(AxisType.Auto,) * 4))
    return compiled, refused


def test_a_plan_of_a_tpu_tries_the_best_by_formula_in_the_measure_of_what_was_compiled(compiler):
    """What fits by formula and not in the measure of the compiled programs is not proposed."""
    compiled, place = compiler[0], topology.parse("v5e:4x4")
    config, lines = run_config.load("base", []), []
    once = plan.plan(config, place, 10, 1, lines.append)
    assert len(compiled) == 1 and once["better_by_formula"] and any("--tries 2 tries it" in line for line in lines)
    twice = plan.plan(config, place, 10, 2, lines.append)
    assert compiled[2] == tuple(once["better_by_formula"]["variant"][name] for name in ("examples", "remat"))
    assert twice["fits"] and twice["bytes"]["total"] < place.chip.memory


def test_what_the_compiler_refuses_does_not_fit_whatever_it_would_take(compiler):
    """A TPU's compiler keeps some of the memory to itself."""
    (compiled, refused), place, config = compiler, topology.parse("v5e:4x4"), run_config.load("base", [])
    assert plan.plan(config, place, 10, 1, lambda line: None)["fits"]
    refused.add(compiled[0])
    alone = plan.plan(config, place, 10, 1, lambda line: None)
    assert not alone["fits"] and alone["bytes"]["total"] < place.chip.memory
    more = plan.plan(config, place, 10, 2, lambda line: None)
    assert more["fits"] and [t["fits"] for t in more["tried"]] == [False, True]


@pytest.mark.parametrize("words, says", [
    (["--topology", "v5x:4x4"], "expected one like"),
    (["--topology", "h100x8", "--config.mesh.data=3"], "do not multiply to the 8"),
    (["--topology", "h100x8", "--seconds", "10000"], "a batch of bucket"),
    (["--topology", "h100x8", "--slices", "7"], "GPUs have no slices"),
    (["--topology", "h100x8", "--config.mesh.slices=7"], "GPUs have no slices"),
    (["--topology", "v5e:4x4", "--config.mesh.slices=2", "--slices", "3"], "--slices 3: the config's mesh.slices is 2; leave"),
    (["--topology", "h100x8", "--config.data.path=d", "--seconds", "3"], "--seconds 3: clips are those of d; leave --seconds away"),
    (["--topology", "h100x8", "--json", ""], "--json '': is empty; name a file"),
    (["--topology", "h100x8", "--config.optim.lrr=1"], "lrr"),
    (["--topology", "h100x8", "--nonsense"], "--nonsense"),
])  # fmt: skip
def test_one_line_for_what_cannot_be(words, says, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert plan.main(["--config", "base", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.parametrize("option", ["--seconds", "--slices"])
@pytest.mark.parametrize("value", ["nan", "-5", "0", "inf"])
def test_impossible_numbers(option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        plan.main(["--config", "base", "--topology", "h100x8", option, value])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and f"argument {option}: " in error and "is needed" in error and error.count("\n") == 1


@pytest.mark.parametrize("json", ["file/p.json", "."])
def test_numbers_that_cannot_be_written_are_refused_before_the_work(json, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(plan, "plan", lambda *_: pytest.fail("it began"))
    (tmp_path / "file").touch()
    assert plan.main(["--config", "base", "--topology", "h200x8", "--json", str(tmp_path / json)]) in (1, 2)
    error = capsys.readouterr().err
    assert f"error: --json {tmp_path / json}: " in error and "name a file" in error and error.count("\n") == 1


@pytest.mark.parametrize("words, slices", [
    ([], 1), (["--slices", "2"], 2), (["--config.mesh.slices=2"], 2), (["--config.mesh.slices=2", "--slices", "2"], 2),
])  # fmt: skip
def test_the_slices_are_the_configs_or_the_options(words, slices, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    planned = []

    def record(config, place, *_):
        planned.append((config.mesh.slices, place.slices, config.mesh.data))
        return {"fits": True}

    monkeypatch.setattr(plan, "plan", record)
    assert plan.main(["--config", "3b", "--topology", "v6e:16x16", *words]) == 0
    assert planned == [(slices, slices, run_config.load("3b", []).mesh.data)]


def test_slices_lie_along_data_where_nothing_else_does(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    planned = []
    monkeypatch.setattr(plan, "plan", lambda config, *_: planned.append(config.mesh.data) or {"fits": True})
    assert plan.main(["--config", "base", "--topology", "v5e:4x4", "--slices", "2"]) == 0
    assert planned == [2]


def test_the_flags_of_a_plan_of_slices_name_them(compiler):
    """Training asks for the number that the devices come in."""
    config, lines = run_config.load("base", ["--config.mesh.slices=2"]), []
    plan.plan(config, topology.parse("v5e:2x4", 2), 10, 1, lines.append)
    assert lines[-1].startswith("as flags: ") and " --config.mesh.slices=2 --config.mesh.data=" in lines[-1]


@pytest.mark.slow
def test_by_default_a_plan_of_a_tpu_compiles_the_best_by_formula_and_the_next_only_where_it_is_refused(compiler):
    (compiled, refused), place, config = compiler, topology.parse("v5p:4x4x4"), run_config.load("base", [])
    lines = []
    found = plan.plan(config, place, 10, None, lines.append)
    assert found["fits"] and [(found["examples"], found["remat"])] == compiled and found["remat"] != config.model.motion.remat
    assert found["seconds"]["slowest"] < plan.plan(config, place, 10, 1, lines.append)["seconds"]["slowest"]
    said = next(line for line in lines if line.startswith("by formula, of "))
    assert "as configured (320 clips, remat full, accumulate 1)" in said and "(320 clips, remat " in said.partition("the best")[2]
    first = compiled[0]
    compiled.clear(), refused.add(first)
    other = plan.plan(config, place, 10, None, lambda line: None)
    assert compiled[0] == first and len(compiled) == 2 and other["fits"] and [t["fits"] for t in other["tried"]] == [False, True]
    refused.update((examples, remat) for examples in range(2_000) for remat in ("none", "dots", "attention", "full"))
    compiled.clear()
    assert not plan.plan(config, place, 10, None, lambda line: None)["fits"] and len(compiled) == plan.REFUSED


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install 'jamflow-jax[plan]'")
def test_the_step_compiles_for_a_tpu_that_is_not_there(tmp_path):
    """FSDP over four chips: parameters gathered, gradients summed and cut; never summed whole."""
    words = [f"--config.model.{stream}.{field}={value}" for stream in ("audio", "motion")
             for field, value in (("width", 256), ("depth", 4), ("heads", 4))]  # fmt: skip
    words += ["--config.model.joint_layers=0,1", "--config.data.batch_frames=3600", "--seconds", "1.6", "--tries", "1"]
    command = [sys.executable, "-m", "launch.plan", "--config", "base", "--topology", "v5e:2x2", "--json", str(tmp_path / "p.json")]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "p.json").read_text())
    assert found["fits"] and not found["by_formula"]
    gathered = sum(c["bytes"] for c in found["collectives"] if c["kind"] == "all-gather")
    whole = sum(c["bytes"] for c in found["collectives"] if c["kind"] == "all-reduce")
    assert gathered > 2 * found["parameters"] > whole
