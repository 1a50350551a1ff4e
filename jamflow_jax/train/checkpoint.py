"""Checkpoints: the one file that knows Orbax (`orbax.checkpoint.v1`, whose names still move).

    DIR/<step>/params, averages, optimizer   arrays; each loads alone, onto any mesh
    DIR/<step>/ metadata                      the record: config, data fingerprint, pending metrics, checksums

Saves run in the background and appear under their name only when complete, so a kill leaves the previous one. Flipped bytes on
disk are another matter: tensorstore reads them without complaint. Hence a checksum of every array,

    c = sum_i (2 i + 1) bits_i   mod 2^32,    i the global flat index,

which is exact whatever the order of summation, so it is computed where the array lies and does not depend on the mesh.
"""
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from jamflow_jax.errors import InputError
from jamflow_jax.train.state import TrainState

FORMAT = 1
Record = dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, newest `keep` kept."""

    def __init__(self, directory: str | Path, keep: int = 3):
        self.directory = Path(directory).absolute()
        self.keep = keep
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
          InputError: what `check` raises; or checkpoints exist and none is whole.
        """
        damaged = 0
        for step in sorted(steps(self.directory), reverse=True):
            path = self.directory / str(step)
            try:
                record = read_record(path)
            except Exception as error:
                damaged += self._set_aside(path, error, say)
                continue
            check(record)
            try:
                arrays = load(path, _split(jax.tree.map(_abstract, shapes, places)), record)
            except Exception as error:
                damaged += self._set_aside(path, error, say)
                continue
            if damaged:
                say(f"going on from the checkpoint of step {step:,}, which is whole")
            return _join(arrays), record
        if damaged:
            raise InputError(f"{self.directory}: none of its {damaged} checkpoints is whole; they are in {self._aside}")
        return None

    def save(self, step: int, state: TrainState, record: Record) -> None:
        """Starts saving in the background (after the last save has finished); returns once the state may be donated."""
        if self._orbax is None:
            newest = ocp.training.preservation_policies.LatestN(self.keep)
            self._orbax = ocp.training.Checkpointer(self.directory, preservation_policy=newest, cleanup_tmp_directories=True)
        arrays = _split(state)
        record = {**record, "format": FORMAT, "step": step, "checksums": checksums(arrays)}
        self._orbax.save_checkpointables_async(step, arrays, custom_metadata=record, force=True)

    def close(self) -> None:
        """Waits for the save under way."""
        if self._orbax is not None:
            self._orbax.close()

    @property
    def _aside(self) -> Path:
        return self.directory.parent / "damaged"

    def _set_aside(self, path: Path, error: Exception, say) -> int:
        reason = str(error).strip().splitlines()
        say(f"checkpoint {path} is damaged ({reason[0][:160] if reason else type(error).__name__}); moved to {self._aside}")
        if jax.process_index() == 0:
            self._aside.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self._aside / path.name, ignore_errors=True)
            shutil.move(path, self._aside / path.name)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("checkpoint set aside")
        return 1


def steps(directory: str | Path) -> list[int]:
    """Steps of the checkpoints in a directory, in order."""
    directory = Path(directory)
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit()) if directory.is_dir() else []


def read_record(path: str | Path) -> Record:
    """What a checkpoint says about itself. Raises ValueError when that is not readable or of another format."""
    record = ocp.checkpointables_metadata(path).custom_metadata
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError("no record of format " + str(FORMAT))
    return record


def load(path: str | Path, abstract: dict[str, Any], record: Record) -> dict[str, Any]:
    """The named parts of a checkpoint ("params", "averages", "optimizer"), verified.

    Args:
      path: DIR/<step>.
      abstract: part -> tree of `jax.ShapeDtypeStruct` with shardings.
      record: from `read_record`.

    Raises:
      ValueError: an array differs from what was saved; Orbax's errors when files are missing.
    """
    arrays = ocp.load_checkpointables(path, abstract)
    for name, value in checksums(arrays).items():
        if record["checksums"].get(name) != value:
            raise ValueError(f"{name} is not what was saved")
    return arrays


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
