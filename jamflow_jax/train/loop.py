"""The training loop, read from top to bottom.

Order matters in three places. Metrics are fetched one step late, so that the device always has a step queued. Lines of
metrics.jsonl are kept where the run lives before the checkpoint of their step. The next batch is taken after the checkpoint has
begun. The step number decides batch and randomness, so a resumed run repeats what the lost steps had done, bit for bit.
"""
import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from jamflow_jax import storage
from jamflow_jax.config import to_dict
from jamflow_jax.errors import InputError
from jamflow_jax.parallel import processes
from jamflow_jax.parallel.mesh import batch_parts, batch_shards, put_batch
from jamflow_jax.train import events, flops, metrics, resume
from jamflow_jax.train.checkpoint import Checkpoints
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.interrupt import Interrupt
from jamflow_jax.train.metrics import MetricsLog
from jamflow_jax.train.profile import Profiler
from jamflow_jax.train.state import TrainState, initialise, layout, not_cut, parameter_table
from jamflow_jax.train.step import make_evaluation_step, make_train_step

HostBatch = dict[str, np.ndarray]


class Source(Protocol):
    """Where batches come from: of the global batch of any step the examples of this process's `batch_parts`, part after part."""

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
    ended: Callable[[], None] = lambda: None, times: events.Times | None = None,
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
      ended: called when a run is finished and its checkpoints are whole; its time is the run's.
      times: the process's clock, where it began before.

    Raises:
      InputError: a checkpoint of another run or data, all checkpoints damaged, or a gradient that stays non-finite.
    """
    checkpoints, times = Checkpoints(storage.at(workdir) / "checkpoints", config.checkpoint), times or events.Times()
    with jax.set_mesh(mesh), Interrupt() as stop:
        state, step, rows = _begin(config, data, mesh, workdir, checkpoints, start, say, begun)
        processes.moved()
        first = jax.process_index() == 0
        whole = batch_shards(mesh) / len(batch_parts(mesh))
        log = Log(config, workdir, times, step, whole, say) if first else _NoLog()
        profiler = Profiler(config.profile, workdir, times)
        times.begin("step")
        try:
            outcome = _Loop(config, data, mesh, checkpoints, log, times, profiler, say).run(state, step, rows, stop)
            profiler.close()
            times.begin("checkpoint")
            checkpoints.close()
            if not outcome.interrupted:
                ended()
            log.spent(outcome.step)
            log.keep()
            return outcome
        finally:
            profiler.close()
            with contextlib.suppress(InputError):  # what the run ends with already comes first
                checkpoints.close()
            log.close()


def _begin(config, data, mesh, workdir, checkpoints, start, say, begun) -> tuple[TrainState, int, list]:
    """The state to go on from: the newest whole checkpoint, else a new one."""
    shapes, places = layout(config, mesh)
    for line in parameter_table(shapes.params):
        say(f"  {line}")
    for line in not_cut(config, mesh):
        say(line)
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
    def __init__(self, config, data, mesh, checkpoints, log, times, profiler, say):
        self.config, self.data, self.mesh, self.checkpoints, self.say = config, data, mesh, checkpoints, say
        self.log, self.times, self.profiler = log, times, profiler
        self.train_step = make_train_step(config, mesh, data.live_mouth_D)
        self.evaluation_step = make_evaluation_step(config, mesh, data.live_mouth_D)
        self.compiled: set[tuple] = set()  # programs: the step or the evaluation, shapes, streams

    def run(self, state: TrainState, step: int, rows: list, stop: Interrupt) -> Outcome:
        config = self.config
        self.rows, self.late = rows, None
        interrupted = False
        batches = iter(self.data.source.iterate(step, config.steps) if step < config.steps else ())
        while (batch := self._next(batches)) is not None:
            # --- step
            self.profiler.before(step + 1)
            state, values = self._call(self.train_step, "step", state, batch)
            step += 1
            self._collect()  # of the step before: this one's work is counted after its line
            self.log.took(batch)
            self.late = step, values
            self.profiler.after(step, values)

            # --- held-out losses, checkpoint
            interrupted = stop.requested(step)
            last = step == config.steps
            evaluate = config.evaluation.every > 0 and (last or step % config.evaluation.every == 0)
            save = last or interrupted or step % config.checkpoint.every == 0
            if evaluate or save:
                self._collect()
                with self.times.phase("evaluation"):
                    losses = self._evaluate(step, state) if evaluate else {}
                with self.times.phase("checkpoint"):
                    if save:
                        self._save(step, state, losses)
                self.log.spent(step)
            if last or interrupted:
                break
        return Outcome(step, interrupted and step < config.steps)

    def _next(self, batches: Iterator[HostBatch]) -> HostBatch | None:
        with self.times.phase("data"):
            batch = next(batches, None)
        processes.moved()
        return batch

    def _call(self, function: Callable, phase: str, arrays: Any, batch: HostBatch):
        """The jitted `function` of state or parameters and a batch. Its first call for these shapes compiles."""
        streams = present_streams(batch)
        program = function, batch["mel"].shape, streams
        with self.times.phase(phase):
            of_batch = put_batch(batch, self.mesh)
            if program not in self.compiled:
                self.compiled.add(program)
                with self.times.phase("compile"):
                    function.lower(arrays, of_batch, streams).compile()  # JAX keeps it for the call
                    processes.moved()
                    processes.meet()
            result = function(arrays, of_batch, streams)
        processes.moved()
        return result

    def _collect(self) -> None:
        """Fetches the metrics of the step before and writes a line when one is due."""
        if self.late is None:
            return
        (step, values), self.late = self.late, None
        with self.times.phase("step"):
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
        self.log.spent(step)
        speed = self.log.speed(step, line["frames"] / len(self.rows))
        self.say(metrics.progress_line(step, self.config.steps, line, speed))
        self.rows = []

    def _evaluate(self, step: int, state: TrainState) -> dict[str, float]:
        params = state.averaged if self.config.evaluation.ema else state.params
        sums = [self._call(self.evaluation_step, "evaluation", params, batch) for batch in self.data.validation()]
        losses = metrics.mean_losses([{k: float(v) for k, v in row.items()} for row in jax.device_get(sums)])
        if not losses:
            return {}
        self.log.write(step, "validation", losses)
        self.say(f"step {step:,}  held out: " + "  ".join(f"{name} {value:.4f}" for name, value in losses.items()))
        goal = self.config.objective
        weights = {"audio": goal.audio_weight, "motion": goal.motion_weight}
        return {**losses, "total": math.fsum(weights[name] * value for name, value in losses.items())}

    def _save(self, step: int, state: TrainState, losses: dict[str, float]) -> None:
        # Means of an interval cut by a checkpoint must come out as if it had not been: the steps so far go along.
        pending = [{name: v if math.isfinite(v) else str(v) for name, v in row.items()} for row in self.rows]
        self.log.keep()
        record = {"config": to_dict(self.config), "fingerprint": self.data.fingerprint, "pending": pending}
        self.checkpoints.save(step, state, record, losses)
        processes.moved()


class Log:
    """The files that process 0 writes: what was computed, and where the time went. A global batch is `whole` of its own."""

    def __init__(
        self, config: RunConfig, workdir: str | Path, times: events.Times, step: int, whole: float = 1.0,
        say: Callable[[str], None] = print,
    ):  # fmt: skip
        self.config, self.times, self.whole = config, times, whole
        self.files = storage.Growing(workdir, (metrics.FILE, metrics.SPEED, events.FILE))
        self.values, self.events = MetricsLog(self.files.folder, step, say), events.EventLog(self.files.folder)
        self.step, self.working, self.flops = step, 0.0, 0.0  # since the last speed
        self.write = self.values.write
        self.events.start(step)

    def spent(self, step: int) -> None:
        """Writes down the seconds since the last call."""
        seconds = self.times.take()
        self.working += seconds.get("step", 0.0) + seconds.get("data", 0.0)
        self.events.spent(step, seconds)

    def took(self, batch: HostBatch) -> None:
        """Counts the work of a batch. With several processes: as if the rest of the global batch were like this process's."""
        lengths = batch["length"][batch["weight"] > 0]
        self.flops += self.whole * flops.step_flops(self.config, lengths.tolist(), present_streams(batch))

    def speed(self, step: int, frames_per_step: float) -> dict[str, float]:
        """Steps, valid mel frames and model FLOPs a second since the last call, without compilation, evaluation and checkpoints."""
        seconds, devices = max(self.working, 1e-9), jax.devices()
        rate = (step - self.step) / seconds
        speed = {"steps_per_s": rate, "frames_per_s": rate * frames_per_step, "tflops_per_s": self.flops / seconds / 1e12}
        share = flops.mfu(self.flops, seconds, len(devices), devices[0].device_kind)
        speed |= {} if share is None else {"mfu": share}
        self.step, self.working, self.flops = step, 0.0, 0.0
        self.values.write_speed(step, speed)
        return speed

    def keep(self) -> None:
        """All lines so far are where the run lives. Raises InputError: they cannot be."""
        if self.files.elsewhere:
            self.values.flush()
        self.files.keep()

    def close(self) -> None:
        """Flushes everything."""
        self.values.close()
        self.events.close()
        with contextlib.suppress(InputError):  # `keep` has said it, or what the run ends with comes first
            self.files.close()


class _NoLog:
    """Processes other than the first write nothing."""

    def write(self, *_):
        pass

    spent = took = keep = close = write

    def speed(self, *_):
        return {"steps_per_s": 0.0, "frames_per_s": 0.0}


def present_streams(batch: HostBatch) -> tuple[str, ...]:
    """The streams any example of the batch has: buckets of speech alone compile to a program without motion.

    All examples of a bucket have the same modalities, damaged ones too, so every process finds the same answer.
    """
    return tuple(stream for stream in ("audio", "motion") if batch[f"has_{stream}"].any())
