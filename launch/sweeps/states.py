"""What is known of each run of a sweep: DIR/status/NAME.json, written whole, by whoever has the run."""
import dataclasses
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from jamflow_jax.config import build
from jamflow_jax.errors import ConfigError, InputError
from launch.outputs.staging import write_text
from launch.sweeps.plan import Run

WAITING, SUBMITTED, RUNNING, STOPPED, FAILED, FINISHED = "waiting", "submitted", "running", "stopped", "failed", "finished"


@dataclasses.dataclass(frozen=True)
class Status:
    """What is known of a run."""

    state: str = WAITING
    config: str = ""  # digest of the RunConfig
    trained: bool = False
    evaluated: tuple[str, ...] = ()  # folders of the finished evaluations
    seconds: float = 0.0  # of all its processes so far, by the clock
    cpu_seconds: float = 0.0  # of all its processes that ended
    job: str = ""  # who has it: a SLURM job, or "process N on HOST"
    code: int = 0  # exit code that ended it
    said: str = ""  # the log's last line, of a run that failed

    @property
    def with_slurm(self) -> bool:
        """Whether a SLURM job has it."""
        return bool(self.job) and not self.job.startswith("process ")


def status_file(folder: str | Path, name: str) -> Path:
    """Where the status of the run called `name` lies."""
    return Path(folder) / "status" / f"{name}.json"


def status(folder: str | Path, run: Run) -> Status:
    """Of one run, as it was written last; a run that nobody started waits. Raises InputError: the file is damaged."""
    path = status_file(folder, run.name)
    if not path.exists():
        return Status()
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: not a status ({error}); remove the file, and the run goes on from its last checkpoint") from None
    return build(Status, values, where=str(path))


def write_status(folder: str | Path, run: Run, new: Status) -> Status:
    """Keeps it on disk and returns it."""
    write_text(status_file(folder, run.name), json.dumps(dataclasses.asdict(new)) + "\n")
    return new


def settled(folder: str | Path, runs: Sequence[Run]) -> dict[str, Status]:
    """Run -> its status; one whose process or SLURM job is gone counts as stopped."""
    found = {run.name: status(folder, run) for run in runs}
    queue = _slurm_queue() if any(s.with_slurm for s in found.values()) else None

    def lost(s: Status) -> bool:
        if s.with_slurm:
            return queue is not None and s.job not in queue
        return s.state in (SUBMITTED, RUNNING) and not _is_alive(s.job)

    return {name: dataclasses.replace(s, state=STOPPED, job="") if lost(s) else s for name, s in found.items()}


def complete(run: Run, now: Status) -> bool:
    """Whether nothing is left to do: trained, and measured for every row."""
    return now.trained and all(evaluation.folder in now.evaluated for evaluation in run.evaluations)


def check_same(folder: str | Path, runs: Sequence[Run]) -> None:
    """Raises ConfigError when something in `folder` was made with another config than today's."""
    for run in runs:
        if status(folder, run).config not in ("", run.digest):
            raise ConfigError(f"{Path(folder) / 'runs' / run.name} was made with another config (of the sweep or of {run.config}); "
                              "take another --out, or remove its status and its folder")  # fmt: skip


def this_process() -> str:
    """How a status names this process."""
    return f"process {os.getpid()} on {platform.node()}"


def _is_alive(job: str) -> bool:
    """Whether a process named by `this_process` is there; of other hosts nobody knows, so it is."""
    if not job:
        return False
    _, number, _, host = job.split(" ", 3)
    if host != platform.node():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _slurm_queue() -> set[str] | None:
    """Ids of all jobs that SLURM has; None where it cannot be asked."""
    if not shutil.which("squeue"):
        return None
    said = subprocess.run(["squeue", "--noheader", "--array", "--format=%i"], capture_output=True, text=True)
    return set(said.stdout.split()) if said.returncode == 0 else None
