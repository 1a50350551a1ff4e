"""Runs here: failures stay apart, what is finished is kept, what was stopped goes on, one sweep at a time."""
import threading
import time

import pytest

from jamflow_jax.errors import ConfigError, InputError
from launch.sweeps import local, states
from launch.sweeps.execute import Stop, execute
from launch.sweeps.plan import plan


def calls(jamflow, verb):
    path = jamflow / "calls"
    return [line for line in path.read_text().splitlines() if line.startswith(verb)] if path.exists() else []


def test_all_run_and_failures_stay_apart(sweep, jamflow, tmp_path):
    runs, told = plan(sweep), []
    assert not local.run_all(runs, tmp_path / "out", 3, ended=lambda run, found: told.append(run.name))
    found = states.settled(tmp_path / "out", runs)
    assert sorted(told) == sorted(run.name for run in runs)
    assert [found[run.name].state for run in runs] == ["finished", "finished", "failed"] * 2
    bad = found[runs[2].name]
    assert bad.code == 1 and bad.said == "error: the gradient was not finite"
    assert [states.complete(run, found[run.name]) for run in runs] == [True, True, False] * 2
    assert len(calls(jamflow, "train")) == 6 and len(calls(jamflow, "evaluate")) == 6  # two rows of `low`, one of `high`, two seeds


def test_a_stopped_run_goes_on_and_a_finished_one_is_not_repeated(sweep, jamflow, tmp_path):
    run, stop = plan(sweep)[0], Stop()
    (jamflow / "slow").touch()
    thread = threading.Thread(target=execute, args=(run, tmp_path, stop, {}))
    thread.start()
    while not (jamflow / "begun").exists():
        time.sleep(0.02)
    assert states.status(tmp_path, run).state == "running"
    stop.now()
    thread.join()
    assert states.status(tmp_path, run).state == "stopped"  # though the training ended with exit code 0
    assert execute(run, tmp_path, Stop(), {}).state == "finished"
    assert execute(run, tmp_path, Stop(), {}).state == "finished"
    assert len(calls(jamflow, "train")) == 2 and len(calls(jamflow, "evaluate")) == 2


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


def test_a_run_whose_process_is_gone_counts_as_stopped(sweep, tmp_path):
    run = plan(sweep)[0]
    job = states.this_process()
    states.write_status(tmp_path, run, states.Status("running", job=job))
    assert states.settled(tmp_path, [run])[run.name].state == "running"
    words = job.split(" ")
    gone = " ".join([words[0], "4194305", *words[2:]])  # above the largest that Linux gives
    states.write_status(tmp_path, run, states.Status("running", job=gone))
    assert states.settled(tmp_path, [run])[run.name].state == "stopped"


def test_a_run_of_another_config_is_not_taken_for_this_one(sweep, tmp_path):
    run = plan(sweep)[0]
    states.write_status(tmp_path, run, states.Status("finished", config="other"))
    with pytest.raises(ConfigError, match="made with another config"):
        states.check_same(tmp_path, [run])


def test_every_slot_has_its_gpu(sweep, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(local, "execute", lambda run, folder, stop, environment, **_: seen.append(environment) or states.Status())
    local.run_all(plan(sweep), tmp_path, 2, ("4", "5"))
    assert len(seen) == 6 and {environment["CUDA_VISIBLE_DEVICES"] for environment in seen} <= {"4", "5"}
