"""Plans by formula, in lines and JSON; bad topologies; a tiny model compiled for four TPU chips where libtpu is installed."""
import importlib.util
import json
import os
import subprocess
import sys

import pytest

from launch import plan


def test_a_gpu_plan_is_by_formula_and_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert plan.main(["--config", "base", "--topology", "h200x8", "--json", str(tmp_path / "p.json")]) == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "p.json").read_text())
    assert "BY FORMULA" in said and "FITS" in said and found["by_formula"]
    # parameters, averages and moments: 16 bytes a parameter over 8 devices
    state = sum(found["bytes"][name] for name in ("params", "ema", "optimizer"))
    assert state == pytest.approx(16 * found["parameters"] / 8, rel=0.01)
    assert 0.1 < found["mfu"]["slowest"] <= found["mfu"]["fastest"] < 1


def test_what_does_not_fit_is_cut_finer_and_the_exit_code_says_so(capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert plan.main(["--config", "10b", "--topology", "h100x8", "--config.mesh.fsdp=8"]) == 1
    assert "accumulate 2" in capsys.readouterr().out


@pytest.mark.parametrize("words, says", [
    (["--topology", "v5x:4x4"], "expected one like"),
    (["--topology", "h100x8", "--config.mesh.data=3"], "do not multiply to the 8"),
    (["--topology", "h100x8", "--seconds", "10000"], "a batch of bucket"),
])  # fmt: skip
def test_one_line_for_what_cannot_be(words, says, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert plan.main(["--config", "base", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.slow
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
