"""Where the time went: each second counted once, steps done again counted as lost."""
import json
import subprocess
import sys
import time

import pytest

from jamflow_jax.train import events


def spent(step, /, **seconds):
    return {"event": "spent", "step": step, "seconds": seconds}


def start(step):
    return {"event": "start", "step": step}


def test_steps_that_are_done_again_are_lost():
    lines = [start(0), spent(0, initialise=5), spent(10, compile=7, step=10, data=2), spent(20, step=10, checkpoint=1),
             start(15), spent(15, initialise=4), spent(20, step=6)]  # fmt: skip
    found = events.account(lines)
    assert found == pytest.approx({"initialise": 9, "compile": 7, "data": 2, "step": 21, "checkpoint": 0.5, "evaluation": 0,
                                   "profile": 0, "lost": 5.5})  # fmt: skip
    assert sum(found.values()) == pytest.approx(sum(sum(line.get("seconds", {}).values()) for line in lines))
    assert events.account([*lines, start(0)])["lost"] == pytest.approx(2 + 10 + 10 + 1 + 6)


def test_a_kill_before_the_first_checkpoint_loses_every_step():
    found = events.account([start(0), spent(4, compile=2, step=8), start(0), spent(8, step=16)])
    assert (found["lost"], found["step"], found["compile"]) == (8, 16, 2)


def test_the_summary():
    lines = [start(0), spent(10, step=90, compile=6), start(10), spent(20, step=60, evaluation=24)]
    assert events.summary(lines) == "goodput 83% of 3 min in 2 starts: step 2 min, evaluation 24 s, compile 6.0 s"
    assert events.summary([]) == "goodput 0% of 0 s in 0 starts: "


def test_an_inner_phase_stops_the_outer(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    times = events.Times()
    with times.phase("evaluation"):
        with times.phase("compile"):
            pass
    assert times.take() == {"initialise": 2, "evaluation": 2, "compile": 1}


def test_a_process_knows_when_it_started():
    """Linux has one clock for all processes."""
    code = "import time; first = time.perf_counter(); from jamflow_jax.train import events; print(first, events.process_start())"
    before = time.perf_counter()
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    first, start = map(float, said.split())
    assert before - 0.02 <= start < first  # it is known to 0.01 s


def test_no_second_is_in_no_phase(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    times = events.Times(since=93.0)
    now = 101.0
    times.begin("step")
    now = 105.0
    with times.phase("data"):
        now = 107.0
    now = 110.0
    assert times.take() == {"initialise": 8, "step": 7, "data": 2}
    now = 111.0
    assert times.take() == {"step": 1}


def test_a_line_that_was_cut_is_left_out(tmp_path):
    log = events.EventLog(tmp_path)
    log.start(0)
    log.close()
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('5\n{"event": "spent", "step": 2}\n\0\0\0\n{"event": "spe')
    log = events.EventLog(tmp_path)
    log.spent(3, {"step": 1.23456})
    log.close()
    assert [line["event"] for line in events.read(tmp_path)] == ["start", "spent"]
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])["seconds"] == {"step": 1.2346}
    assert events.read(tmp_path / "none") == []
