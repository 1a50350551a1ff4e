"""The quickstart keeps finished parts, kills and resumes, and never removes a folder that is not its own."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from launch import quickstart
from launch.quickstart import Job, Settings

TRAINER = """
import json, pathlib, sys, time
work = pathlib.Path(sys.argv[sys.argv.index('--workdir') + 1]); (work / 'checkpoints').mkdir(parents=True, exist_ok=True)
done = max([int(p.name) for p in (work / 'checkpoints').iterdir()], default=0)
log = work / 'metrics.jsonl'
kept = [l for l in (log.read_text().splitlines() if log.exists() else []) if json.loads(l)['step'] <= done]
log.write_text(''.join(l + chr(10) for l in kept))
for step in range(done + 1, 21):
    with log.open('a') as f: f.write(json.dumps({'step': step, 'split': 'train', 'loss': 1 / step}) + chr(10))
    if step % 5 == 0: (work / 'checkpoints' / str(step)).mkdir()
    print('step', step, flush=True)
    time.sleep(0.02)
"""


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """A stand-in for launch.train that logs twenty steps and saves every fifth."""
    package = tmp_path / "stand_in" / "launch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text(TRAINER)
    monkeypatch.setattr(quickstart, "_environment", lambda: {"PYTHONPATH": str(package.parent), "PATH": ""})
    monkeypatch.setattr("launch.run_config.load", lambda *_: type("Config", (), {"steps": 20}))


def test_training_is_killed_once_and_resumed(tmp_path, trainer, monkeypatch):
    monkeypatch.chdir(tmp_path / "stand_in")  # python -m looks here first
    job = Job(tmp_path / "run", Settings(kill_after=0.4))
    job.part("train", "train", "", job.train)
    facts = job.state["train"]
    assert facts["finished"] and 8 <= facts["killed_at"] < 20 and facts["resumed_from"] >= 5
    assert facts["repeated_lines"] == facts["equal_lines"]
    assert len((tmp_path / "run" / "model" / "metrics.jsonl").read_text().splitlines()) == 20
    again = Job(tmp_path / "run", Settings(kill_after=0.4))
    again.part("train", "train", "", lambda: pytest.fail("a finished part must be kept"))


def test_other_settings_start_anew(tmp_path):
    job = Job(tmp_path / "run", Settings())
    job.remember("data", finished=True, seconds=1.0)
    assert "data" in Job(tmp_path / "run", Settings()).state
    assert "data" not in Job(tmp_path / "run", Settings(minutes=2.0)).state


def test_a_strange_folder_is_left_alone(tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert quickstart.main(["--out", str(tmp_path), "--fresh"]) == 1
    assert "left alone" in capsys.readouterr().err and (tmp_path / "precious.txt").exists()


@pytest.mark.slow
def test_the_tiny_quickstart_from_nothing(tmp_path):
    root = Path(quickstart.__file__).resolve().parent.parent
    command = [sys.executable, "-m", "launch.quickstart", "--tiny", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert state["train"]["killed_at"] > state["train"]["resumed_from"] > 0
    assert state["train"]["equal_lines"] == state["train"]["repeated_lines"] > 0
    assert (tmp_path / "run" / "report.html").stat().st_size < 15 * 2**20
    assert max(part["peak_bytes"] for part in state.values() if isinstance(part, dict)) < 6 * 2**30
    again = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and again.stdout.count("kept") >= 4
