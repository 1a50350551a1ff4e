"""All runs of a sweep on this machine, N at a time.

One sweep at a time works in a folder: the runs themselves hold its lock as well, so that one whose sweep was killed is not
started twice.
"""
import contextlib
import fcntl
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jamflow_jax.errors import InputError
from launch.sweeps.execute import Stop, execute
from launch.sweeps.plan import Run
from launch.sweeps.states import RUNNING, Status, status


def run_all(
    runs: Sequence[Run], folder: str | Path, parallel: int = 1, devices: Sequence[str] = (),
    began: Callable[[Run], None] = lambda run: None, ended: Callable[[Run, Status], None] = lambda run, status: None,
) -> bool:  # fmt: skip
    """Executes `runs` in order; True when it was asked to stop (SIGTERM, Ctrl-C) before the end. Runs that fail stop no other.

    Args:
      devices: one for each of the `parallel` slots, as CUDA_VISIBLE_DEVICES names it; empty: every run sees all.
      began, ended: told of every run, from several threads but one at a time.

    Raises:
      InputError: another sweep, or a run that outlived one, is at work in `folder`.
    """
    folder, stop, tell = Path(folder), Stop(), threading.Lock()
    free = queue.SimpleQueue()
    for slot in range(parallel):
        free.put(devices[slot] if devices else None)

    def one(run: Run) -> None:
        if stop.asked:
            return
        device = free.get()
        try:
            with tell:
                began(run)
            environment = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
            found = execute(run, folder, stop, environment, keep=(lock,))
            with tell:
                ended(run, found)
        finally:
            free.put(device)

    with _locked(folder, runs) as lock, _signals(stop), ThreadPoolExecutor(parallel) as pool:
        for future in [pool.submit(one, run) for run in runs]:
            future.result()
    return stop.asked


@contextlib.contextmanager
def _locked(folder: Path, runs: Sequence[Run]) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            names = [run.name for run in runs if status(folder, run).state == RUNNING]
            raise InputError(f"{folder}: another jamflow sweep is at work there, or a run that outlived one "
                             f"({', '.join(names) or 'not of this sweep'}); wait for it or stop it") from None  # fmt: skip
        yield file.fileno()


@contextlib.contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and Ctrl-C ask the runs to save and end; a second Ctrl-C ends the sweep at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number, frame):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=stop.now).start()  # the handler may have interrupted a holder of its lock
        os.write(2, b"\nstopping: the runs under way save first\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
