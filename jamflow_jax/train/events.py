"""Where a run's hours went: events.jsonl in the workdir, over all its restarts, and the goodput it adds up to.

    {"event": "start", "time": ..., "step": 40}                                  a process begins, at this step
    {"event": "spent", "time": ..., "step": 60, "seconds": {"step": 9.1, "data": 0.2, ...}}      since the line before

Seconds are those of process 0 from its start on, each counted once, under one of

    initialise      all before the first step: Python, imports, the other processes, data, parameters or a checkpoint
    compile         first calls of a program
    data            waiting for batches
    step            the loop itself, and waiting for what devices do in its steps
    evaluation      held-out losses
    checkpoint      saving; at the end also what a finished run leaves: its config, the export
    profile         starting a trace and writing it

and, found when the file is read: `lost`, steps (with all that went into them) that were done again after a kill,

    goodput = seconds of steps that count / all seconds

Time in which no process ran, and what one did after its last line (a killed one; the last words of any), is in no line and not
counted.
"""
import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from jamflow_jax import storage

FILE = "events.jsonl"
PHASES = ("initialise", "compile", "data", "step", "checkpoint", "evaluation", "profile")


class Times:
    """Seconds by phase since they were last taken; a phase within another stops the outer one's clock.

    Outside of all blocks time counts as the phase that `begin` named last, at first "initialise": none is in no phase.

    Args:
      since: what `time.perf_counter` said when the first phase began; None: now.
    """

    def __init__(self, since: float | None = None):
        self._seconds: dict[str, float] = {}
        self._phases = ["initialise"]
        self._since = time.perf_counter() if since is None else since

    def begin(self, name: str) -> None:
        """From now on time outside of blocks counts as `name`."""
        self._count()
        self._phases[0] = name

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time in the block counts as `name`."""
        self._count()
        self._phases.append(name)
        try:
            yield
        finally:
            self._count()
            self._phases.pop()

    def take(self) -> dict[str, float]:
        """Seconds by phase since the last call."""
        self._count()
        seconds, self._seconds = self._seconds, {}
        return seconds

    def _count(self) -> None:
        now = time.perf_counter()
        self._seconds[self._phases[-1]] = self._seconds.get(self._phases[-1], 0.0) + now - self._since
        self._since = now


def process_start() -> float:
    """When this process started, by `time.perf_counter`, to 0.01 s; now, where the system is not Linux."""
    age = 0.0
    with contextlib.suppress(OSError, AttributeError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()  # the third and on; starttime is the 22nd (proc(5))
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter() - age


class EventLog:
    """Appends to DIR/events.jsonl."""

    def __init__(self, workdir: str | Path):
        self._file = open(Path(workdir) / FILE, "a+b", buffering=0)
        if self._file.seek(0, 2) and (self._file.seek(-1, 2), self._file.read(1))[1] != b"\n":
            self._file.write(b"\n")  # the end of a line that a full disk or a kill has cut

    def start(self, step: int) -> None:
        """A process begins."""
        self._write({"event": "start", "time": time.time(), "step": step})

    def spent(self, step: int, seconds: dict[str, float]) -> None:
        """What the time since the last line went into."""
        self._write({"event": "spent", "time": time.time(), "step": step, "seconds": {k: round(v, 4) for k, v in seconds.items()}})

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, line: dict) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")


def read(workdir: str | Path) -> list[dict]:
    """The lines of DIR/events.jsonl that are whole; none where there is no file."""
    path, lines = storage.at(workdir) / FILE, []
    for line in storage.read(path).decode(errors="replace").splitlines() if storage.exists(path) else ():
        with contextlib.suppress(ValueError):
            values = json.loads(line)
            if isinstance(values, dict) and {"event", "step", *(["seconds"] * (values.get("event") != "start"))} <= values.keys():
                lines.append(values)
    return lines


def account(lines: list[dict]) -> dict[str, float]:
    """Seconds by phase, and `lost`, over all starts of a run. Steps beyond the one a later start goes on from are lost; of a line
    that spans it, the share of steps beyond it."""
    total, spans = dict.fromkeys((*PHASES, "lost"), 0.0), []  # spans: (first, last, seconds) of lines with steps in them
    step = 0
    for line in lines:
        if line["event"] == "start":
            step = line["step"]
            for i, (first, last, seconds) in enumerate(spans):
                if last > step:
                    share = (last - max(first, step)) / (last - first)
                    lost = {name: share * value for name, value in seconds.items()}
                    total["lost"] += sum(lost.values())
                    spans[i] = min(first, step), step, {name: value - lost[name] for name, value in seconds.items()}
            spans = [span for span in spans if span[1] > span[0]]
            continue
        work = {name: value for name, value in line["seconds"].items() if name in ("data", "step", "evaluation", "checkpoint")}
        for name, value in line["seconds"].items():
            if name not in work:
                total[name] = total.get(name, 0.0) + value
        if line["step"] > step:
            spans.append((step, line["step"], work))
        else:
            for name, value in work.items():
                total[name] += value
        step = line["step"]
    for _, _, seconds in spans:
        for name, value in seconds.items():
            total[name] += value
    return total


def summary(lines: list[dict]) -> str:
    """goodput 81 % of 12 min in 3 starts: step 9 min, compile 70 s, lost 20 s, ..."""
    from jamflow_jax.train.metrics import time_left

    seconds = account(lines)
    whole = sum(seconds.values())
    starts = sum(line["event"] == "start" for line in lines)
    parts = sorted(((value, name) for name, value in seconds.items() if value >= 0.05), reverse=True)
    share = seconds["step"] / whole if whole else 0.0
    return (f"goodput {share:.0%} of {time_left(whole)} in {starts} start{'s' if starts != 1 else ''}: "
            + ", ".join(f"{name} {time_left(value) if value >= 10 else f'{value:.1f} s'}" for value, name in parts))  # fmt: skip
