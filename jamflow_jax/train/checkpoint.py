"""Checkpoints: the one file that knows Orbax (`orbax.checkpoint.v1`, whose names still move).

    DIR/<step>/params, averages, optimizer   arrays; each loads alone, onto any mesh
    DIR/<step>/ metadata                      the record: config, data fingerprint, pending metrics, shapes, checksums

Saves run in the background and appear under their name only when complete, so a kill leaves the previous one. Flipped bytes on
disk are another matter: tensorstore reads them without complaint. Hence a checksum of every array,

    c = sum_i (2 i + 1) bits_i   mod 2^32,    i the global flat index,

which is exact whatever the order of summation, so it is computed where the array lies and does not depend on the mesh.

Three things can be wrong with a checkpoint, and each is one line: it is damaged (`Damaged`: the one before it is taken), it is of
another model than asked for, or the machine cannot read it now (both `InputError`: nothing is touched).

Several processes read together: each its part, alone; then they tell each other what they found (`processes.agree`), before
anything that all must do, such as a checksum. So what is wrong with the part of one is an error of the same kind in all.
"""
import contextlib
import errno
import functools
import gc
import json
import logging
import math
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from jamflow_jax import storage
from jamflow_jax.errors import InputError
from jamflow_jax.parallel import processes
from jamflow_jax.train.config import CheckpointConfig
from jamflow_jax.train.state import TrainState

FORMAT = 1
Record = dict[str, Any]
_COMPLETE = "commit_success.txt"
_REFUSED = re.compile(r"\b(RESOURCE_EXHAUSTED|UNAVAILABLE|PERMISSION_DENIED|UNAUTHENTICATED|DEADLINE_EXCEEDED|ABORTED|Forbidden)\b")
_CLIENTS = ("gcsfs", "google", "aiohttp", "requests", "urllib3")  # of stores
_MISSING = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # errors that a damaged directory gives; all others pass


class Damaged(ValueError):
    """A checkpoint that is not what was saved; the message says in what way."""


class Checkpoints:
    """The checkpoints of one run; `config` says which are kept."""

    def __init__(self, directory: str | Path, config: CheckpointConfig | None = None):
        self.directory = storage.absolute(directory)
        self.config = config or CheckpointConfig()
        self._orbax: ocp.training.Checkpointer | None = None

    def restore(
        self, shapes: TrainState, places: TrainState, check: Callable[[Record], None], say: Callable[[str], None] = print
    ) -> tuple[TrainState, Record] | None:
        """The newest checkpoint that is whole, or None when there is none at all.

        Args:
          shapes, places: of the state, from `state.layout`.
          check: raises when a record does not belong to this run.
          say: told of every damaged checkpoint, which is moved to DIR/../damaged.

        Raises:
          InputError: what `check` and `load` raise; or there are checkpoints, here or set aside, and none is whole.
        """
        found = sorted(steps(self.directory), reverse=True)
        for step in found:
            path = self.directory / str(step)
            with self._or_aside(path, say):
                record = read_record(path)
                check(record)
                arrays = load(path, _split(jax.tree.map(_abstract, shapes, places)), record)
                if step != found[0]:
                    say(f"going on from the checkpoint of step {step:,}, which is whole")
                return _join(arrays), record
        self._refuse_if_damaged()
        return None

    def save(self, step: int, state: TrainState, record: Record, held_out: dict[str, float] | None = None) -> None:
        """Starts saving in the background (after the last save has finished); returns once the state may be donated.

        Args:
          held_out: the held-out losses of this step, if there are any: they go into the record, and `keep_best` compares them.

        Raises:
          InputError: this checkpoint or the one before cannot be written (a full disk, no right to).
        """
        with self._writing():
            if self._orbax is None:
                logging.getLogger("absl").addFilter(_not_of_a_save)
                self._orbax = ocp.training.Checkpointer(
                    self.directory, preservation_policy=_policy(self.config), cleanup_tmp_directories=True)
            arrays, metrics = _split(state), None
            if held_out:
                record = {**record, "held_out": held_out}
                metrics = {"held_out": held_out[self.config.keep_best]} if self.config.keep_best in held_out else None
            self._orbax.save_checkpointables_async(
                step, arrays, custom_metadata=_complete(record, step, arrays), metrics=metrics, force=True)

    def close(self) -> None:
        """Waits for the save under way. Raises InputError: it could not be written."""
        orbax, self._orbax = self._orbax, None
        if orbax is not None:
            with self._writing():
                try:
                    orbax.close()
                finally:
                    logging.getLogger("absl").removeFilter(_not_of_a_save)

    def best(
        self, abstract: dict[str, Any], say: Callable[[str], None] = print
    ) -> tuple[dict[str, Any], Record] | None:
        """Arrays and record of the checkpoint with the lowest held-out loss of those that are whole, else of the newest.

        Args:
          abstract: the parts to load, as for `load`.
          say: told of every damaged checkpoint on the way, which is moved as `restore` does.

        Returns:
          None: there is no checkpoint at all.

        Raises:
          InputError: as `restore`.
        """
        metric, found = "total" if self.config.keep_best == "none" else self.config.keep_best, {}
        for step in steps(self.directory):
            with self._or_aside(path := self.directory / str(step), say):
                found[step] = read_record(path)
        losses = {step: record.get("held_out", {}).get(metric, math.inf) for step, record in found.items()}
        for step in sorted(found, key=lambda step: (losses[step], -step)):
            with self._or_aside(path := self.directory / str(step), say):
                return load(path, abstract, found[step]), found[step]
        self._refuse_if_damaged()
        return None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not _passing(error):
                raise
            numbers = {number for cause in _causes(error) for number in _errnos(cause)} - {*_MISSING}
            reason = ", ".join(map(os.strerror, sorted(numbers))) or _reason(error, self.directory)  # tensorstore's own is long
            raise InputError(
                f"a checkpoint cannot be written to {self.directory} ({reason}); those before it are "
                f"whole, and the same command goes on from the last"
            ) from error

    @property
    def _aside(self) -> PurePath:
        return self.directory.parent / "damaged"

    @contextlib.contextmanager
    def _or_aside(self, path: Path, say: Callable[[str], None]) -> Iterator[None]:
        """Around reading a checkpoint: one that is damaged is said and moved, and the caller goes on to the next."""
        try:
            yield
        except Damaged as error:
            say(f"checkpoint {path} is damaged ({error}); moved to {self._aside}")
            if jax.process_index() == 0:
                storage.move(path, self._aside / path.name)
            processes.meet()

    def _refuse_if_damaged(self) -> None:
        if aside := steps(self._aside):
            raise InputError(
                f"{self.directory}: no checkpoint is whole; {len(aside)} damaged ones (steps {', '.join(map(str, aside))}) are in "
                f"{self._aside}: take another --workdir, or remove {self._aside} to start this run anew"
            )


def _policy(config: CheckpointConfig):
    """The newest, and whatever else `config` wants kept."""
    kept = ocp.training.preservation_policies
    policies = [kept.LatestN(config.keep)]
    if config.keep_every > 0:
        policies.append(kept.EveryNSteps(config.keep_every))
    if config.keep_best != "none":
        lowest = {"get_metric_fn": lambda metrics: metrics["held_out"], "reverse": True, "n": 1}
        policies.append(kept.BestN(**lowest, keep_checkpoints_without_metrics=False))
    return kept.AnyPreservationPolicy(policies)


def save_parameters(directory: str | Path, step: int, params: dict[str, Any], record: Record) -> None:
    """A checkpoint of parameters {stream: tree} and nothing else: to load from, not to go on from; the record names the streams."""
    arrays = {"params": params}
    record = _complete({**record, "streams": sorted(params)}, step, arrays)
    ocp.save_checkpointables(storage.absolute(directory) / str(step), arrays, custom_metadata=record)


def _complete(record: Record, step: int, arrays: dict[str, Any]) -> Record:
    return {**record, "format": FORMAT, "step": step, "shapes": _shapes(arrays), "checksums": checksums(arrays)}


def steps(directory: str | Path) -> list[int]:
    """Steps of the checkpoints in a directory, in order. Raises InputError: processes see different ones."""
    directory = storage.at(directory)
    processes.agree("")  # process 0, which renames and removes for all, has done so
    found = [directory / name for name in storage.names(directory) if name.isdigit()]
    # nothing can be renamed at an address: there Orbax writes a last file into those that are complete
    seen = sorted(int(path.name) for path in found if isinstance(path, Path) or storage.exists(path / _COMPLETE))
    of_each = [json.loads(word) for word in processes.agree(json.dumps(seen))]
    for number, others in enumerate(of_each):
        if others != of_each[0]:
            raise InputError(f"{directory}: process {number} sees checkpoints of steps {others} there, process 0 of {of_each[0]}: "
                             f"all processes need the same directory")  # fmt: skip
    return seen


def read_record(path: str | Path) -> Record:
    """What a checkpoint says about itself.

    Raises:
      Damaged: that is not readable or of another format; InputError: not now.
    """
    with _reading(path):
        record = ocp.checkpointables_metadata(path).custom_metadata
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise Damaged(f"it has no record of format {FORMAT} that can be read")
    return record


def load(path: str | Path, abstract: dict[str, Any], record: Record) -> dict[str, Any]:
    """The named parts of a checkpoint ("params", "averages", "optimizer"), verified.

    Args:
      path: DIR/<step>.
      abstract: part -> tree of `jax.ShapeDtypeStruct` with shardings.
      record: from `read_record`.

    Raises:
      Damaged: files are missing or cut, or an array differs from what was saved.
      InputError: the arrays asked for are not those of the record; or the machine cannot read it now.
    """
    _compare(path, _shapes(abstract), record)
    number = processes.number()
    alone = ocp.options.MultiprocessingOptions(primary_host=number, active_processes={number})
    with _reading(path), ocp.Context(multiprocessing_options=alone):  # Orbax would wait for the others in there
        arrays = ocp.load_checkpointables(path, abstract)
    with _reading(path):
        found = checksums(arrays)
    for name, value in found.items():
        if record["checksums"].get(name) != value:
            raise Damaged(f"{name} is not what was saved")
    return arrays


def _shapes(tree: Any) -> dict[str, list[int]]:
    return {jax.tree_util.keystr(path): list(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _compare(path, wanted: dict[str, list[int]], record: Record) -> None:
    """Orbax names another model's arrays in a thousand lines; the record knows them beforehand."""
    parts = {name[: name.index("]") + 1] for name in wanted}
    saved = {name: shape for name, shape in record.get("shapes", wanted).items() if name[: name.index("]") + 1] in parts}
    for name in sorted(saved.keys() | wanted.keys()):
        if saved.get(name) != wanted.get(name):
            there, here = (f"{tuple(x[name])}" if name in x else "none" for x in (saved, wanted))
            raise InputError(f"checkpoint {path} is of another model than the config: {name} has shape {there}, not {here}")


@contextlib.contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Around Orbax: what goes wrong is said in one line, by us, and not in its logs and in those of the threads it leaves behind.
    What went wrong in one process has gone wrong in all.

    Raises:
      InputError: a passing error of the machine (disk, memory, open files); Damaged: any other.
    """
    loggers, failed, hook = [logging.getLogger(name) for name in ("absl", "asyncio")], None, sys.unraisablehook
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield
            except Exception as error:
                failed = _passing(error), _reason(error, path)
                for cause in _causes(error):
                    traceback.clear_frames(cause.__traceback__)
            gc.collect()  # coroutines and futures that nobody awaits complain when they are collected: let it be now
        if failed:  # a thread of Orbax may keep some for longer
            warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)
    finally:
        for logger, disabled in zip(loggers, before):
            logger.disabled = disabled
        late = getattr(hook, "func", None) is _but_for_late_reads
        sys.unraisablehook = hook if late else functools.partial(_but_for_late_reads, hook)
    failures = [(number, *found) for number, found in enumerate(map(json.loads, processes.agree(json.dumps(failed)))) if found]
    if failures:
        number, passing, reason = min(failures, key=lambda failure: not failure[1])  # one that passes comes first: nothing is moved
        reason = f"process {number}: {reason}" if processes.several() else reason
        if passing:
            raise InputError(f"checkpoint {path} cannot be read now ({reason}); it was left as it is") from None
        raise Damaged(reason) from None


def _not_of_a_save(record: logging.LogRecord) -> bool:
    """Orbax logs the traceback of a save that fails in the background; the error itself comes out of the next call, and is said."""
    return record.exc_info is None or "orbax" not in record.pathname


def _but_for_late_reads(hook: Callable[[Any], None], event: Any) -> None:
    """Reads of a load that has failed end after it, in other threads: nobody waits for them."""
    if "Event loop is closed" not in str(event.exc_value):
        hook(event)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those behind it, the first cause last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _passing(error: Exception) -> bool:
    """Whether the machine is to blame: another time, or with more memory or disk, the checkpoint may well load."""
    for cause in _causes(error):
        if isinstance(cause, MemoryError) or _REFUSED.search(str(cause)) or set(_errnos(cause)) - {*_MISSING}:
            return True
        if type(cause).__module__.split(".")[0] in _CLIENTS and getattr(cause, "code", None) != 404:
            return True
    return False


def _errnos(cause: BaseException) -> list[int | None]:
    """The errors of the system that an exception carries."""
    numbers = [int(number) for number in re.findall(r"os_error_code='(\d+)'", str(cause))]  # tensorstore's way to say errno
    return numbers + ([cause.errno] if isinstance(cause, OSError) else [])


def _reason(error: Exception, path: str | Path) -> str:
    """The first cause in a line; of tensorstore's, which nests them, the innermost, without its specifications.
    Files are named from `path` on."""
    cause = list(_causes(error))[-1]
    line = re.split(r"\s\[(?:tensorstore_spec|source locations|os_error_code)", str(cause))[0].replace(f"{path}/", "")
    line = " ".join(re.sub(r"^([A-Z_]+: )?.*Error (?:reading|opening) ", r"\1", line).split()) or type(cause).__name__
    if isinstance(cause, json.JSONDecodeError):
        line = f"one of its JSON files: {line}"
    return line if len(line) <= 200 else line[:200] + "..."


def checksums(tree: Any) -> dict[str, int]:
    """Path of each array -> its checksum."""
    flat = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    return {name: int(value) for name, value in jax.device_get(_sums(flat)).items()}


@jax.jit
def _sums(flat):
    return {name: _sum(leaf) for name, leaf in flat.items()}


def _sum(x: jax.Array) -> jax.Array:
    width = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
    bits = x.astype(width) if x.dtype == jnp.bool_ else jax.lax.bitcast_convert_type(x, width)
    strides = [functools.reduce(lambda a, b: a * b, x.shape[i + 1 :], 1) % 2**32 for i in range(x.ndim)]
    index = sum((jax.lax.broadcasted_iota(jnp.uint32, x.shape, i) * jnp.uint32(s) for i, s in enumerate(strides)), jnp.uint32(0))
    return jnp.sum(bits.astype(jnp.uint32) * (2 * index + 1), dtype=jnp.uint32)


def _split(state: TrainState) -> dict[str, Any]:
    rest = {"step": state.step, "skipped": state.skipped, "skipped_in_a_row": state.skipped_in_a_row, "opt_state": state.opt_state}
    return {"params": state.params, "averages": state.ema, "optimizer": rest}


def _join(parts: dict[str, Any]) -> TrainState:
    return TrainState(params=parts["params"], ema=parts["averages"], **parts["optimizer"])


def _abstract(shape, place):
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=place)
