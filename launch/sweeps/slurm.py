"""The runs of a sweep as a SLURM array of N at a time, through submitit (pip install 'jamflow-jax[slurm]').

Each run is one job that trains, saves when SLURM is about to end it (submitit's signal, before the time limit and on preemption),
is queued again by itself and goes on. Nothing waits here: `jamflow sweep status` looks at what became of them.
"""
import dataclasses
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from jamflow_jax.errors import ConfigError, InputError
from launch.sweeps.execute import Stop, execute
from launch.sweeps.plan import Run
from launch.sweeps.states import SUBMITTED, status, write_status

MOST_REQUEUES = 100  # after the time limit; preemptions are not counted


class Job:
    """What submitit runs on the node."""

    def __call__(self, run: Run, folder: str) -> str:
        import submitit

        self._stop, self._id = Stop(), submitit.JobEnvironment().job_id
        first = os.environ.get("SLURM_PROCID", "0") == "0"
        # In a thread: submitit's signal interrupts the main one, which must not hold what waiting for the process needs.
        self._thread = threading.Thread(target=execute, args=(run, folder, self._stop, devices(), self._id, first))
        self._thread.start()
        self._thread.join()
        return status(folder, run).state

    def checkpoint(self, run: Run, folder: str):
        """Called on submitit's signal: lets the training save, and says what to queue again."""
        import submitit

        self._stop.now()
        self._thread.join()
        write_status(folder, run, dataclasses.replace(status(folder, run), state=SUBMITTED, job=self._id))
        return submitit.helpers.DelayedSubmission(Job(), run, folder)


def devices() -> dict[str, str]:
    """JAX gives each process of a SLURM step one GPU, by its number on the node; a process that is alone there takes them all."""
    gpus = os.environ.get("SLURM_GPUS_ON_NODE", "")
    alone = os.environ.get("SLURM_NTASKS_PER_NODE", "1") == "1"
    return {"JAX_LOCAL_DEVICE_IDS": ",".join(map(str, range(int(gpus))))} if alone and gpus.isdigit() and int(gpus) else {}


def check(parallel: int, parameters: Mapping[str, str]) -> None:
    """Raises what `submit` would raise of its parameters; needs no SLURM."""
    with tempfile.TemporaryDirectory() as folder:
        _executor(Path(folder), parallel, parameters, "debug")


def submit(
    runs: Sequence[Run], folder: str | Path, parallel: int, parameters: Mapping[str, str], cluster: str = "slurm",
) -> list:  # fmt: skip
    """Submits `runs` and returns submitit's jobs.

    Args:
      parameters: of sbatch: partition, time (minutes), gpus_per_node, nodes, ...
      cluster: "slurm"; "local" and "debug" are submitit's stand-ins for trying without one.

    Raises:
      InputError: submitit or SLURM is not installed.
      ConfigError: a parameter that submitit does not know.
    """
    if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise InputError("--launcher slurm: sbatch and srun are not on the PATH; run this on a login node of the cluster")
    folder = Path(folder).resolve()
    executor = _executor(folder, parallel, parameters, cluster)
    for run in runs:
        write_status(folder, run, dataclasses.replace(status(folder, run), state=SUBMITTED, job="", config=run.digest))
    with executor.batch():
        jobs = [executor.submit(Job(), run, str(folder)) for run in runs]
    for run, job in zip(runs, jobs):
        current = status(folder, run)
        if current.state == SUBMITTED and not current.job:  # else it has begun already
            write_status(folder, run, dataclasses.replace(current, job=job.job_id))
    return jobs


def _executor(folder: Path, parallel: int, parameters: Mapping[str, str], cluster: str):
    try:
        import submitit
    except ImportError:
        raise InputError("--launcher slurm needs submitit: pip install 'jamflow-jax[slurm]'") from None
    if not parameters.get("time", "0").isdigit():
        raise ConfigError(f"--slurm time={parameters['time']}: minutes are needed, a whole number")
    try:
        executor = submitit.AutoExecutor(folder / "slurm", cluster=cluster, slurm_max_num_timeout=MOST_REQUEUES)
        executor.update_parameters(name="jamflow-sweep", slurm_array_parallelism=parallel,
                                   **{f"slurm_{name}": int(v) if v.isdigit() else v for name, v in parameters.items()})  # fmt: skip
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"--slurm: {error}") from None
    return executor
