"""`jamflow sweep`: a dry run starts nothing, failures end with 3, running again repeats nothing."""
import contextlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from launch import sweep
from launch.sweeps import execute, plan, slurm

FILE = """
def get_sweep():
    return {"question": "Which?", "base": "quickstart", "seeds": (0,), "fixed": {"steps": 5, "optim.warmup": 1},
            "rows": {"good": {}, "bad": {"optim.lr": 0.5}}, "metrics": ({"key": "train.loss", "better": "lower"},)}
"""
JAMFLOW = """
import json, pathlib, sys
work = pathlib.Path(sys.argv[sys.argv.index('--workdir') + 1])
if '--config.optim.lr=0.5' in sys.argv: sys.exit('error: too fast')
work.mkdir(parents=True)
(work / 'metrics.jsonl').write_text(json.dumps({'step': 5, 'split': 'train', 'loss': 0.25}) + chr(10))
"""


@pytest.fixture
def words(tmp_path, monkeypatch):
    (tmp_path / "which.py").write_text(FILE)
    (tmp_path / "jamflow.py").write_text(JAMFLOW)
    monkeypatch.setattr(execute, "JAMFLOW", (sys.executable, str(tmp_path / "jamflow.py")))
    return [str(tmp_path / "which.py"), "--out", str(tmp_path / "out")]


def test_a_dry_run_lists_and_starts_nothing(words, tmp_path, capsys):
    assert sweep.main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 rows x 1 seeds = 2 results of 2 trainings" in said
    assert "quickstart_steps=5_warmup=1_lr=0.5_seed=0\n    jamflow train --config quickstart --config.steps=5" in said
    assert not (tmp_path / "out").exists()


CASCADE = """
def get_sweep():
    return {"question": "Which?", "base": "quickstart", "seeds": (0,), "fixed": {"steps": 5, "optim.warmup": 1},
            "rows": {"speech": {"model.joint_layers": ()}, "cascade": {"stage": 1, "evaluate.speech_from": "speech"}},
            "evaluate": {"steps": 4}, "metrics": ({"key": "x"},), "synthetic": ({"path": "not there", "minutes": 0.5},)}
"""


def test_pasted_into_a_shell_a_dry_runs_commands_are_those_of_the_sweep(tmp_path, capsys):
    """Also where paths and values need quotes, and where a run is measured with what another one made."""
    file, out = tmp_path / "which.py", tmp_path / "it's out"
    file.write_text(CASCADE)
    assert sweep.main([str(file), "--out", str(out), "--dry-run"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    report = f"""jamflow() {{ {shlex.quote(sys.executable)} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@"; }}"""
    pasted = subprocess.run(["bash", "-c", "\n".join([report, *lines[1:]])], capture_output=True, text=True, check=True).stdout
    wanted = [words for run in plan.plan(plan.read(str(file))) for words in execute.commands(out, run)]
    assert [json.loads(line) for line in pasted.splitlines()] == wanted and len(wanted) == 4
    speech = wanted[0][wanted[0].index("--workdir") + 1]
    assert speech == wanted[1][wanted[1].index("--model") + 1] == wanted[3][wanted[3].index("--speech-from") + 1]
    words = shlex.split(lines[0])  # makes the data
    assert Path(words[0]).samefile(sys.executable) and "'not there', minutes=0.5" in words[2]
    compile(words[2], "pasted", "exec")


def test_a_dry_run_says_what_slurm_would_be_asked(words, capsys, monkeypatch):
    checked = []
    monkeypatch.setattr(slurm, "check", lambda *asked: checked.append(asked))
    assert sweep.main([*words, "--dry-run", "--launcher", "slurm", "--parallel", "8", "--slurm", "time=240"]) == 0
    assert "  one array of 2 SLURM jobs, 8 at a time, time=240\n" in capsys.readouterr().out
    assert checked == [(8, {"time": "240"})]


def test_run_again_and_status(words, tmp_path, capsys):
    assert sweep.main(words) == 3
    said = capsys.readouterr()
    assert "[2/2] quickstart_steps=5_warmup=1_lr=0.5_seed=0: failed with exit code 1: error: too fast" in said.out
    assert said.err.startswith("failed: quickstart_steps=5_warmup=1_lr=0.5_seed=0: error: too fast (")
    assert "good  1/1    0.250" in said.out
    assert sorted(path.name for path in (tmp_path / "out" / "results").iterdir()) == [
        "which-runs.csv", "which.csv", "which.html", "which.md"]  # fmt: skip
    assert sweep.main(words) == 3  # what failed is tried again, what finished is not
    assert "1 finished earlier, kept" in (said := capsys.readouterr().out) and "[1/1]" in said
    assert sweep.main(["status", *words]) == 3
    assert "quickstart_steps=5_warmup=1_seed=0: finished" in capsys.readouterr().out


def test_status_of_a_folder_without_a_sweep_makes_none(words, tmp_path, capsys):
    for missing in (tmp_path / "mistyped", tmp_path / "deeper" / "out"):
        assert sweep.main(["status", words[0], "--out", str(missing)]) == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1
        assert said.err.startswith(f"error: {missing}: no sweep has begun there; name the --out it was given, or begin one with")
    assert not (tmp_path / "mistyped").exists() and not (tmp_path / "deeper").exists()
    sweep.main(words)
    capsys.readouterr()
    assert sweep.main(["status", words[0], "--out", str(tmp_path / "uot")]) == 1
    assert f"there is one in {tmp_path / 'out'}: name it with --out" in capsys.readouterr().err


@pytest.mark.parametrize("wrong, said", [
    (["--slurm", "time=3"], "--slurm: of --launcher slurm"),
    (["--gpus", "0,1", "--launcher", "slurm"], "--gpus: of --launcher local"),
    (["--gpus", "0,1", "--parallel", "4"], "--gpus: of --launcher local, one run on each"),
    (["--gpus", "0,,1"], "argument --gpus: '0,,1'; expected the numbers of GPUs"),
    (["--gpus", ""], "argument --gpus: ''; expected the numbers of GPUs"),
    (["--out", ""], "--out is empty"),
])  # fmt: skip
def test_no_option_goes_unread(words, capsys, wrong, said):
    with pytest.raises(SystemExit):
        sweep.main([words[0], *wrong, "--dry-run"])
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    with pytest.raises(SystemExit):
        sweep.main(["status", *words, "--dry-run"])
    assert "--dry-run: status starts nothing" in capsys.readouterr().err


def test_where_nothing_can_be_written_no_data_is_made(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "_data", lambda _: pytest.fail("it began"))
    (tmp_path / "file").touch()
    for more in ([], ["--dry-run"]):
        assert sweep.main([words[0], "--out", str(tmp_path / "file" / "out"), *more]) == 1
        assert capsys.readouterr().err == f"error: {tmp_path / 'file' / 'out'}: Not a directory\n"


def test_wrong_usage(words, capsys):
    for wrong in (["joint_layerz"], [*words, "--parallel", "0"], [*words, "--seeds", "x"], [*words, "--slurm", "partition"],
                  ["statsu", *words]):  # fmt: skip
        with pytest.raises(SystemExit) if len(wrong) > 1 else contextlib.nullcontext():
            assert sweep.main(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1
