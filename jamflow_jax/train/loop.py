"""The training loop, read from top to bottom.

Order matters in three places. Metrics are fetched one step late, so that the device always has a step queued. Lines of
metrics.jsonl are on disk before the checkpoint of their step. The next batch is taken after the checkpoint has begun. The step
number decides batch and randomness, so a resumed run repeats what the lost steps had done, bit for bit.
"""
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from jamflow_jax.config import to_dict
from jamflow_jax.errors import InputError
from jamflow_jax.parallel.mesh import put_batch
from jamflow_jax.train import metrics, resume
from jamflow_jax.train.checkpoint import Checkpoints
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.interrupt import Interrupt
from jamflow_jax.train.metrics import MetricsLog
from jamflow_jax.train.state import TrainState, initialise, layout, parameter_table
from jamflow_jax.train.step import make_evaluation_step, make_train_step

HostBatch = dict[str, np.ndarray]


class Source(Protocol):
    """Where batches come from: this process's examples of the global batch of any step."""

    def iterate(self, start: int, stop: int | None = None) -> Iterator[HostBatch]:
        """The batches of steps start, start + 1, ..., read ahead."""


@dataclasses.dataclass(frozen=True)
class Data:
    """What the loop needs to know of the data."""

    source: Source
    validation: Callable[[], Iterable[HostBatch]]  # the same held-out batches every time; may be empty
    live_mouth_D: np.ndarray  # bool: mouth dimensions that move at all
    fingerprint: str  # of the plan: the data and the global batches


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    interrupted: bool


def run(
    config: RunConfig, data: Data, mesh: Mesh, workdir: str | Path,
    start: Callable[[], dict[str, Any]] = dict, say: Callable[[str], None] = print, begun: Callable[[], None] = lambda: None,
) -> Outcome:  # fmt: skip
    """Trains until `config.steps`, from the newest checkpoint in `workdir` if there is one.

    Args:
      config: with the model's dimensions filled in.
      data: see `Data`.
      mesh: all devices.
      workdir: holds checkpoints and metrics.
      start: parameters to start from, {stream: arrays}; called only when there is no checkpoint.
      say: told of everything a user should read, line by line.
      begun: called when a new run has its state, before its first step: what is wrong with a start leaves no trace.

    Raises:
      InputError: a checkpoint of another run or data, all checkpoints damaged, or a gradient that stays non-finite.
    """
    checkpoints = Checkpoints(Path(workdir) / "checkpoints", config.checkpoint.keep)
    with jax.set_mesh(mesh), Interrupt() as stop:
        state, step, rows = _begin(config, data, mesh, workdir, checkpoints, start, say, begun)
        log = MetricsLog(workdir, step) if jax.process_index() == 0 else _NoLog()
        try:
            return _Loop(config, data, mesh, checkpoints, log, say).run(state, step, rows, stop)
        finally:
            checkpoints.close()
            log.close()


def _begin(config, data, mesh, workdir, checkpoints, start, say, begun) -> tuple[TrainState, int, list]:
    """The state to go on from: the newest whole checkpoint, else a new one."""
    shapes, places = layout(config, mesh)
    for line in parameter_table(shapes.params):
        say(f"  {line}")
    found = checkpoints.restore(
        shapes, places, lambda record: resume.check(record, to_dict(config), data.fingerprint, str(workdir), say), say)
    if found is None:
        state = initialise(config, mesh, start())
        begun()
        return state, 0, []
    state, record = found
    say(f"resuming at step {record['step']:,}")
    return state, record["step"], [{name: float(value) for name, value in row.items()} for row in record["pending"]]


class _Loop:
    def __init__(self, config, data, mesh, checkpoints, log, say):
        self.config, self.data, self.mesh, self.checkpoints, self.log, self.say = config, data, mesh, checkpoints, log, say
        self.train_step = make_train_step(config, mesh, data.live_mouth_D)
        self.evaluation_step = make_evaluation_step(config, mesh, data.live_mouth_D)

    def run(self, state: TrainState, step: int, rows: list, stop: Interrupt) -> Outcome:
        config = self.config
        self.rows, self.late, self.clock = rows, None, _Clock(step)
        interrupted = False
        for batch in self.data.source.iterate(step, config.steps) if step < config.steps else ():
            # --- step
            state, values = self.train_step(state, put_batch(batch, self.mesh), present_streams(batch))
            step += 1
            self._collect()
            self.late = step, values

            # --- held-out losses, checkpoint
            interrupted = stop.requested(step)
            last = step == config.steps
            evaluate = config.evaluation.every > 0 and (last or step % config.evaluation.every == 0)
            save = last or interrupted or step % config.checkpoint.every == 0
            if evaluate or save:
                self._collect()
                with self.clock.paused():
                    if evaluate:
                        self._evaluate(step, state)
                    if save:
                        self._save(step, state)
            if last or interrupted:
                break
        return Outcome(step, interrupted and step < config.steps)

    def _collect(self) -> None:
        """Fetches the metrics of the step before and writes a line when one is due."""
        if self.late is None:
            return
        (step, values), self.late = self.late, None
        row = {name: float(value) for name, value in jax.device_get(values).items()}
        self.rows.append(row)
        limit = self.config.optim.skip_nonfinite
        if row["skipped_in_a_row"] >= limit:
            raise InputError(
                f"the gradient was not finite {limit} times in a row, up to step {step:,}: lower config.optim.lr, or look at the "
                f"data of these steps; the same command goes on from the last checkpoint"
            )
        if step % self.config.log_every and step != self.config.steps:
            return
        line = metrics.summarise(self.rows)
        self.log.write(step, "train", line)
        speed = self.clock.speed(step, line["frames"] / len(self.rows))
        self.log.write_speed(step, speed)
        self.say(metrics.progress_line(step, self.config.steps, line, **speed))
        self.rows = []

    def _evaluate(self, step: int, state: TrainState) -> None:
        params = state.averaged if self.config.evaluation.ema else state.params
        sums = [self.evaluation_step(params, put_batch(batch, self.mesh), present_streams(batch))
                for batch in self.data.validation()]  # fmt: skip
        losses = metrics.mean_losses([{k: float(v) for k, v in row.items()} for row in jax.device_get(sums)])
        if losses:
            self.log.write(step, "validation", losses)
            self.say(f"step {step:,}  held out: " + "  ".join(f"{name} {value:.4f}" for name, value in losses.items()))

    def _save(self, step: int, state: TrainState) -> None:
        # Means of an interval cut by a checkpoint must come out as if it had not been: the steps so far go along.
        pending = [{name: v if math.isfinite(v) else str(v) for name, v in row.items()} for row in self.rows]
        self.checkpoints.save(
            step, state, {"config": to_dict(self.config), "fingerprint": self.data.fingerprint, "pending": pending})


class _Clock:
    """Speed since the last line, without the time spent on evaluation and checkpoints."""

    def __init__(self, step: int):
        self.step, self.start, self.idle = step, time.perf_counter(), 0.0

    def paused(self):
        return self

    def __enter__(self):
        self._since = time.perf_counter()

    def __exit__(self, *_):
        self.idle += time.perf_counter() - self._since

    def speed(self, step: int, frames_per_step: float) -> dict[str, float]:
        """Steps and valid mel frames a second since the last call."""
        now = time.perf_counter()
        rate = (step - self.step) / max(now - self.start - self.idle, 1e-9)
        self.step, self.start, self.idle = step, now, 0.0
        return {"steps_per_s": rate, "frames_per_s": rate * frames_per_step}


class _NoLog:
    """Processes other than the first write nothing."""

    def write(self, *_):
        pass

    write_speed = close = write


def present_streams(batch: HostBatch) -> tuple[str, ...]:
    """The streams any example of the batch has: buckets of speech alone compile to a program without motion.

    All examples of a bucket have the same modalities, damaged ones too, so every process finds the same answer.
    """
    return tuple(stream for stream in ("audio", "motion") if batch[f"has_{stream}"].any())
