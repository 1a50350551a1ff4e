"""One run of a sweep: train, then measure, as the commands a user would type; what became of it is a small file.

    DIR/runs/NAME/             the workdir of `jamflow train`      DIR/runs/NAME/evaluation/ROW/     of `jamflow evaluate`
    DIR/logs/NAME.log          all that both said                  DIR/status/NAME.json              states.py

Called again, it goes on where it was: a training resumes from its checkpoint, what is finished is not repeated, what failed is
tried again. A run counts as trained when its last step is on disk: a training that was asked to stop ends with exit code 0 too.
"""
import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from jamflow_jax.train import metrics
from launch.exits import CLEAN, SOME_REJECTED
from launch.sweeps.plan import RUNS, Run
from launch.sweeps.states import FAILED, FINISHED, RUNNING, STOPPED, Status, status, this_process, write_status

ROOT = Path(__file__).resolve().parent.parent.parent
JAMFLOW = (sys.executable, "-u", "-m", "launch.cli")


class Stop:
    """Asks the process under way to save and end; nothing is started after that."""

    def __init__(self):
        self.asked, self._lock, self._processes = False, threading.Lock(), set()

    def now(self) -> None:
        """SIGTERM to all; the runs then return by themselves."""
        with self._lock:
            self.asked = True
            for process in self._processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)

    @contextlib.contextmanager
    def watching(self, start):
        """`start()` -> a process, unless it is too late (then None)."""
        with self._lock:
            process = None if self.asked else start()
            self._processes |= {process} - {None}
        try:
            yield process
        finally:
            with self._lock:
                self._processes -= {process}


def commands(folder: str | Path, run: Run) -> list[list[str]]:
    """What a run executes: its training, then its evaluations, without `jamflow`."""
    workdir = str(Path(folder) / "runs" / run.name)
    train = ["train", "--config", run.config, *run.overrides, "--workdir", workdir]
    measure = ["evaluate", "--model", workdir, "--out"]
    here = f"{Path(folder) / 'runs'}/"
    return [train] + [
        [*measure, f"{workdir}/evaluation/{e.folder}", *(word.replace(RUNS, here) for word in e.words)] for e in run.evaluations
    ]


def complete(folder: str | Path, run: Run, now: Status) -> bool:
    """Whether nothing is left to do."""
    return now.trained and all(e.folder in now.evaluated for e in run.evaluations)


def execute(
    run: Run, folder: str | Path, stop: Stop, environment: dict[str, str], job: str = "", first: bool = True,
    keep: tuple[int, ...] = (),
) -> Status:  # fmt: skip
    """Trains and evaluates what is not done yet.

    Args:
      stop: ends the run early.
      environment: of its processes, beside this one's.
      job: SLURM's, that this is; empty: a process of this machine.
      first: False for the other processes of a training over several hosts, which write and measure nothing.
      keep: file descriptors that its processes hold open.
    """
    folder, began = Path(folder), time.monotonic()
    before = status(folder, run)
    now = dataclasses.replace(before, state=RUNNING, config=run.digest, job=job or this_process(), code=0, said="")

    def note(cpu: float = 0.0, **changes) -> Status:
        nonlocal now
        seconds, spent = before.seconds + time.monotonic() - began, now.cpu_seconds + cpu
        now = dataclasses.replace(now, seconds=round(seconds, 1), cpu_seconds=round(spent, 2), **changes)
        return write_status(folder, run, now) if first else now

    note()
    train, *evaluations = commands(folder, run)
    workdir, log = folder / "runs" / run.name, folder / "logs" / f"{run.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)

    def failed(code: int) -> Status:
        return note(state=FAILED, code=code, said=last_line(log), job="")

    if not now.trained:
        code, cpu = _call(train, log, stop, environment, keep)
        note(cpu)
        if stop.asked:
            return note(state=STOPPED, job="")
        if code not in (CLEAN, SOME_REJECTED):
            return failed(code)
        if first and last_step(workdir) < run.steps:  # somebody asked the training itself to stop
            return note(state=STOPPED, job="")
        note(trained=True)
    for evaluation, command in zip(run.evaluations, evaluations):
        if not first or evaluation.folder in now.evaluated:
            continue
        code, cpu = _call(command, log, stop, environment, keep)
        note(cpu)
        if stop.asked:
            return note(state=STOPPED, job="")
        if code not in (CLEAN, SOME_REJECTED):
            return failed(code)
        note(evaluated=(*now.evaluated, evaluation.folder))
    return note(state=FINISHED, job="")


def last_step(workdir: Path) -> int:
    """Of metrics.jsonl; 0 without one."""
    return metrics.read(workdir)[-1]["step"] if (workdir / "metrics.jsonl").exists() and metrics.read(workdir) else 0


def last_line(log: Path) -> str:
    """What a log says last; an `error:` line if there is one near its end, since libraries may complain after it."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines[-20:] if line.startswith("error: ")]
    return (errors or lines or ["(the log is empty)"])[-1]


def _call(words: list[str], log: Path, stop: Stop, environment: dict[str, str], keep: tuple[int, ...]) -> tuple[int, float]:
    """Runs `jamflow WORDS`, appending to `log`; its exit code and the CPU seconds it took."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(['jamflow', *words])}\n")
        file.flush()

        def start():
            # A session of its own: Ctrl-C reaches the sweep alone, which then asks every run to save.
            return subprocess.Popen(
                [*JAMFLOW, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, **environment}, start_new_session=True, pass_fds=keep,
            )  # fmt: skip

        with stop.watching(start) as process:
            if process is None:
                return -1, 0.0
            _, status, used = os.wait4(process.pid, 0)  # as process.wait(), which does not say what was used
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, used.ru_utime + used.ru_stime
