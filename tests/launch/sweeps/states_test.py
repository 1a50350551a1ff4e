"""A status on disk, and what it is worth when the one who wrote it is gone."""
import pytest

from jamflow_jax.errors import ConfigError, InputError
from launch.sweeps import states
from launch.sweeps.plan import plan


def test_a_run_whose_process_is_gone_counts_as_stopped(sweep, tmp_path):
    run = plan(sweep)[0]
    job = states.this_process()
    states.write_status(tmp_path, run, states.Status("running", job=job))
    assert states.settled(tmp_path, [run])[run.name].state == "running"
    words = job.split(" ")
    gone = " ".join([words[0], "4194305", *words[2:]])  # above the largest that Linux gives
    states.write_status(tmp_path, run, states.Status("running", job=gone))
    assert states.settled(tmp_path, [run])[run.name].state == "stopped"


def test_a_status_that_is_damaged_is_one_line(sweep, tmp_path):
    run = plan(sweep)[0]
    states.write_status(tmp_path, run, states.Status("finished"))
    (tmp_path / "status" / f"{run.name}.json").write_bytes(b"\0" * 9)
    with pytest.raises(InputError, match=f"{run.name}.json: not a status .*; remove the file"):
        states.status(tmp_path, run)


def test_a_run_of_another_config_is_not_taken_for_this_one(sweep, tmp_path):
    run = plan(sweep)[0]
    states.write_status(tmp_path, run, states.Status("finished", config="other"))
    with pytest.raises(ConfigError, match="made with another config"):
        states.check_same(tmp_path, [run])
