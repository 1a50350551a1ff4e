"""What a run reports: metrics.jsonl, TensorBoard and one progress line.

metrics.jsonl holds only what the run's arithmetic decides, one JSON object a line: a run that was killed and resumed writes the
same bytes as one that was not. Means run over the steps since the last line, the streams' losses weighted by their elements,

    audio = sum of squared errors / number of elements,   over all steps of the interval

Clock-dependent figures (steps and valid mel frames a second) go to speed.jsonl beside it.
"""
import contextlib
import io
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from jamflow_jax import storage

FILE, SPEED = "metrics.jsonl", "speed.jsonl"
Row = Mapping[str, float]  # the metrics of one step, or sums and counts of one held-out batch


def mean_losses(rows: Sequence[Row]) -> dict[str, float]:
    """{"audio": ..., "motion": ...} over rows of sums and counts; a stream with nothing in the loss is left out."""
    losses = {}
    for name in ("audio", "motion"):
        count = math.fsum(row[f"{name}_count"] for row in rows)
        if count > 0:
            losses[name] = math.fsum(row[f"{name}_sum"] for row in rows) / count
    return losses


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """One line's values from the metrics of the steps since the last line; steps that were skipped are left out of the means."""
    good = [row for row in rows if math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"])]
    means = {name: math.fsum(row[name] for row in good) / len(good) for name in ("loss", "grad_norm")} if good else {}
    return {**means, **mean_losses(good), "lr": rows[-1]["lr"], "frames": math.fsum(row["frames"] for row in rows),
            "skipped": rows[-1]["skipped"]}  # fmt: skip


class MetricsLog:
    """Appends to DIR/metrics.jsonl, DIR/speed.jsonl and DIR/tb. Lines beyond `step` are from a future that was lost: dropped. So
    are those that are not whole, and `say` is told."""

    def __init__(self, workdir: str | Path, step: int = 0, say: Callable[[str], None] = print):
        self.path = Path(workdir) / FILE
        self._keep_up_to(step, say)
        self._file = open(self.path, "a", encoding="utf-8")
        self._speed = open(Path(workdir) / SPEED, "a", encoding="utf-8")
        self._board = SummaryWriter(str(Path(workdir) / "tb"), purge_step=step + 1)

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """One line, on disk when this returns: a checkpoint must never be ahead of the curve."""
        self._file.write(json.dumps({"step": step, "split": split, **values}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._to_board(step, split, values)

    def write_speed(self, step: int, values: Mapping[str, float]) -> None:
        """Figures that depend on the machine and the day."""
        self._speed.write(json.dumps({"step": step, "time": time.time(), **values}) + "\n")
        self._speed.flush()
        self._to_board(step, "speed", values)

    def flush(self) -> None:
        """All that was told is in the files."""
        self._board.flush()

    def close(self) -> None:
        """Flushes everything. What cannot be written any more has been said where it was written."""
        for file in (self._file, self._speed, self._board):
            try:
                file.close()
            except OSError:
                # the board's thread and its farewell at exit would try again, and each print a stack trace
                threading.excepthook, sys.unraisablehook = _but_for_files(threading.excepthook), _but_for_files(sys.unraisablehook)

    def _to_board(self, step, split, values):
        for name, value in values.items():
            self._board.add_scalar(f"{split}/{name}", value, step)

    def _keep_up_to(self, step: int, say: Callable[[str], None]) -> None:
        if not self.path.exists():
            return
        lines = [(line, _parse(line)) for line in io.BytesIO(self.path.read_bytes())]
        if damaged := sum(values is None for _, values in lines):
            say(f"{FILE}: {damaged} of {len(lines)} lines not whole, dropped; the others stay as they are")
        kept = [line for line, values in lines if values and values["step"] <= step]
        if len(kept) < len(lines):
            partial = self.path.with_suffix(".partial")
            partial.write_bytes(b"".join(kept))
            os.replace(partial, self.path)


def _but_for_files(hook: Callable[[Any], object]) -> Callable[[Any], None]:
    """The hook, for all but errors of files."""

    def told(event) -> None:
        if not isinstance(event.exc_value, OSError):
            hook(event)

    return told


def read(workdir: str | Path, split: str = "train") -> list[dict[str, float]]:
    """The lines of DIR/metrics.jsonl of one split ("train", "validation"), in order; those that are whole."""
    lines = map(_parse, io.BytesIO(storage.read(storage.at(workdir) / FILE)))
    return [values for values in lines if values and values["split"] == split]


def _parse(line: bytes) -> dict[str, Any] | None:
    """What a line of metrics.jsonl says; None: it is not whole (cut, or with other bytes in it after a power cut)."""
    with contextlib.suppress(ValueError):
        values = json.loads(line)
        if line.endswith(b"\n") and isinstance(values, dict) and isinstance(values.get("step"), int) and "split" in values:
            return values
    return None


def progress_line(step: int, steps: int, values: Mapping[str, float], speed: Mapping[str, float]) -> str:
    """step 1,200/20,000  audio 1.234  motion 0.567  lr 7.5e-05  3.20 steps/s  45,000 frames/s  1 h 38 min left

    "no loss" stands for steps in which nothing was counted: of clips that are all damaged, or without what is trained."""
    losses = [f"{name} {values[name]:.4f}" for name in ("audio", "motion") if name in values]
    skipped = [f"skipped {values['skipped']:.0f}"] if values["skipped"] else []
    left = time_left((steps - step) / speed["steps_per_s"]) if speed["steps_per_s"] > 0 else "?"
    told = [f"{speed['steps_per_s']:.2f} steps/s", f"{speed['frames_per_s']:,.0f} frames/s"]
    told += [*([f"MFU {speed['mfu']:.1%}"] if "mfu" in speed else []), f"{left} left"]
    return "  ".join([f"step {step:,}/{steps:,}", *(losses or ["no loss"]), f"lr {values['lr']:.2g}", *skipped, *told])


def time_left(seconds: float) -> str:
    """A duration as people say it: 45 s, 12 min, 3 h 05 min, 2 d 4 h."""
    minutes, hours = round(seconds / 60), int(seconds // 3600)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{hours // 24} d {hours % 24} h"
