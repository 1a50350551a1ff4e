"""Runs here: failures stay apart, what is finished is kept, what was stopped goes on, one sweep at a time."""
import os
import signal
import threading
import time

import pytest

from jamflow_jax.errors import InputError
from launch.sweeps import local, states
from launch.sweeps.execute import Stop, execute
from launch.sweeps.plan import plan


def test_all_run_and_failures_stay_apart(sweep, jamflow, tmp_path):
    runs, told = plan(sweep), []
    assert not local.run_all(runs, tmp_path / "out", 3, ended=lambda run, found: told.append(run.name))
    found = states.settled(tmp_path / "out", runs)
    assert sorted(told) == sorted(run.name for run in runs)
    assert [found[run.name].state for run in runs] == ["finished", "finished", "failed"] * 2
    bad = found[runs[2].name]
    assert bad.code == 1 and bad.said == "error: the gradient was not finite"
    assert [states.complete(run, found[run.name]) for run in runs] == [True, True, False] * 2
    verbs = [line.split()[0] for line in (jamflow / "calls").read_text().splitlines()]
    assert verbs.count("train") == 6 and verbs.count("evaluate") == 6  # of two rows of `low` and one of `high`, two seeds


def test_one_sweep_at_a_time(sweep, jamflow, tmp_path):
    runs = plan(sweep)[:1]
    with local._locked(tmp_path, runs):
        states.write_status(tmp_path, runs[0], states.Status("running"))
        with pytest.raises(InputError, match="another jamflow sweep is at work there.*lr=0.1_seed=0"):
            local.run_all(runs, tmp_path)


def test_a_run_that_outlived_its_sweep_keeps_the_folder(sweep, jamflow, tmp_path):
    run, stop = plan(sweep)[0], Stop()
    (jamflow / "slow").touch()
    with local._locked(tmp_path, [run]) as lock:
        thread = threading.Thread(target=execute, args=(run, tmp_path, stop, {}), kwargs={"keep": (lock,)})
        thread.start()
        while not (jamflow / "begun").exists():
            time.sleep(0.02)
    with pytest.raises(InputError, match="a run that outlived one"):  # the sweep's own hold ended with the block
        local.run_all([run], tmp_path)
    stop.now()
    thread.join()
    with local._locked(tmp_path, [run]):
        pass


def test_every_slot_has_its_gpu(sweep, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(local, "execute", lambda run, folder, stop, environment, **_: seen.append(environment) or states.Status())
    local.run_all(plan(sweep), tmp_path, 2, ("4", "5"))
    assert len(seen) == 6 and {environment["CUDA_VISIBLE_DEVICES"] for environment in seen} <= {"4", "5"}


def test_sigterm_lets_runs_save_and_starts_no_other(sweep, jamflow, tmp_path):
    runs = plan(sweep)
    (jamflow / "slow").touch()

    def end():
        while not (jamflow / "begun").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end).start()
    assert local.run_all(runs, tmp_path / "out")
    found = states.settled(tmp_path / "out", runs)
    assert [found[run.name].state for run in runs] == ["stopped"] + ["waiting"] * 5
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
