"""The fault suite: its smallest form, and its short one, a fault of each kind that one process can meet."""
import json
import subprocess
import sys

import pytest

from benchmarks import faults


def test_table():
    events = [{"kind": "a", "what": "A.", "processes": 1, "ok": ok} for ok in (True, False)]
    assert faults.table([{"faults": events}, {"faults": events[:1]}]).splitlines()[2:] == ["| 1 | A | 3 | 2 |", "| | all | 3 | 2 |"]


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("form, least", [("--smallest", 4), pytest.param("--short", 11, marks=pytest.mark.slow)])
def test_forms(tmp_path, form, least):
    words = [sys.executable, "-m", "benchmarks.faults", form, "--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=3000)
    report = json.loads((tmp_path / "faults.json").read_text())
    assert done.returncode == 0 and report["same"] and len(report["faults"]) >= least, done.stdout[-3000:] + done.stderr[-3000:]
