"""The memory a process and its children hold, watched from outside: the sum of their resident sets, from /proc."""
import os
import threading
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(root: int) -> int:
    """Bytes resident in process `root` and its descendants (shared pages count once per process); 0 where there is no /proc."""
    parents, sizes = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name of the program, in brackets, may hold anything; the fields follow the last bracket.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)], sizes[int(folder.name)] = int(fields[1]), int(fields[21]) * _PAGE
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
    total = 0
    for pid in sizes:
        up = pid
        while up not in (root, 0) and up in parents:
            up = parents[up]
        total += sizes[pid] if up == root else 0
    return total


class Peak:
    """`with Peak() as peak: ...` leaves the most that this process and its children held, in `peak.bytes`."""

    def __init__(self, every: float = 0.25):
        self.bytes, self._every, self._end = 0, every, threading.Event()

    def __enter__(self) -> "Peak":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join()
        self.seconds = time.perf_counter() - self._started

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, resident(os.getpid()))
            if self._end.wait(self._every):
                return
