"""Jobs through submitit: its debug stand-in runs them, a faked sbatch shows what SLURM would be asked for."""
import threading
import time

import pytest

from jamflow_jax.errors import ConfigError, InputError
from launch.sweeps import slurm, states
from launch.sweeps.plan import plan

submitit = pytest.importorskip("submitit")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """sbatch, srun and squeue that only write down and answer."""
    tools = tmp_path / "tools"
    tools.mkdir()
    sbatch = f'cp "${{@: -1}}" {tools}/submitted; echo Submitted batch job 77'
    for name, does in {"sbatch": sbatch, "srun": "true", "squeue": "echo 77_0"}.items():
        (tools / name).write_text(f"#!/usr/bin/env bash\n{does}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    return tools


def test_a_job_trains_and_measures(sweep, jamflow, tmp_path):
    runs = plan(sweep)[:3]
    jobs = slurm.submit(runs, tmp_path / "out", 2, {}, cluster="debug")
    assert [job.result() for job in jobs] == ["finished", "finished", "failed"]


def test_what_slurm_is_asked_for(sweep, cluster, tmp_path):
    runs = plan(sweep)[:2]
    jobs = slurm.submit(runs, tmp_path / "out", 1, {"partition": "gpu", "time": "240", "gpus_per_node": "2"})
    assert [job.job_id for job in jobs] == ["77_0", "77_1"]
    asked = (cluster / "submitted").read_text()
    for line in ("--array=0-1%1", "--partition=gpu", "--time=240", "--gpus-per-node=2", "--signal=USR2@"):
        assert f"#SBATCH {line}" in asked
    found = states.settled(tmp_path / "out", runs)  # squeue knows the first one only
    assert [found[run.name].state for run in runs] == ["submitted", "stopped"]


def test_a_job_that_is_taken_away_saves_and_is_queued_again(sweep, jamflow, tmp_path):
    (jamflow / "slow").touch()
    run, job = plan(sweep)[0], slurm.Job()
    job._stop, job._id = slurm.Stop(), "77_0"
    job._thread = threading.Thread(target=slurm.execute, args=(run, tmp_path, job._stop, {}, "77_0"))
    job._thread.start()
    while not (jamflow / "begun").exists():
        time.sleep(0.02)
    again = job.checkpoint(run, str(tmp_path))
    assert isinstance(again.function, slurm.Job) and again.args == (run, str(tmp_path))
    assert states.status(tmp_path, run).state == "submitted" and states.status(tmp_path, run).job == "77_0"


def test_parameters_are_checked_where_there_is_no_slurm(monkeypatch):
    monkeypatch.setenv("PATH", "")
    slurm.check(8, {"partition": "gpu", "time": "240"})
    with pytest.raises(ConfigError, match="--slurm: Unknown argument 'tiem'"):
        slurm.check(8, {"tiem": "240"})
    with pytest.raises(ConfigError, match="--slurm time=abc: minutes are needed"):
        slurm.check(8, {"time": "abc"})


def test_no_slurm_and_unknown_parameters(sweep, cluster, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--slurm"):
        slurm.submit(plan(sweep), tmp_path / "out", 1, {"partitoin": "gpu"})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="sbatch and srun are not on the PATH"):
        slurm.submit(plan(sweep), tmp_path / "out", 1, {})


def test_a_process_alone_on_its_node_takes_all_gpus(monkeypatch):
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "4")
    assert slurm.devices() == {"JAX_LOCAL_DEVICE_IDS": "0,1,2,3"}
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    assert slurm.devices() == {}
