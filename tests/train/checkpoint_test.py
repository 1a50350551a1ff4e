"""Checksums: what they see; what is said of a checkpoint that does not load. (Saving and resuming are in loop_test.py.)"""
import gc
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.train import checkpoint
from jamflow_jax.train.checkpoint import Checkpoints, Damaged, checksums, steps
from jamflow_jax.train.config import CheckpointConfig
from jamflow_jax.train.state import TrainState


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32, jnp.bool_])
def test_checksum_is_the_formula(dtype):
    x = (jnp.arange(24).reshape(2, 3, 4) % 5).astype(dtype)
    (value,) = checksums({"x": x}).values()
    host = np.asarray(x)
    bits = host if dtype == jnp.bool_ else host.view({2: np.uint16, 4: np.uint32}[host.itemsize])
    assert value == int(((2 * np.arange(24) + 1) * bits.ravel().astype(np.int64)).sum() % 2**32)


def test_checksum_sees_a_bit_and_an_exchange():
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    flipped, exchanged = x.copy(), x.copy()
    flipped.view(np.uint32)[2, 3] ^= 1
    exchanged[[0, 1]] = exchanged[[1, 0]]
    values = {tuple(checksums({"x": jnp.asarray(y)}).values()) for y in (x, flipped, exchanged)}
    assert len(values) == 3
    assert checksums({"x": jnp.zeros((), jnp.int32)}) == {"['x']": 0}
    assert jax.tree.structure(checksums({"a": {"b": x}})) == jax.tree.structure({"['a']['b']": 0})


def test_steps(tmp_path):
    for name in ("10", "9", "10.orbax-checkpoint-tmp", "x"):
        (tmp_path / name).mkdir()
    assert steps(tmp_path) == [9, 10] and steps(tmp_path / "none") == []


HERE = jax.sharding.SingleDeviceSharding(jax.devices("cpu")[0])


def state(width: int = 3) -> TrainState:
    arrays = {"audio": {f"kernel_{i}": jnp.ones((2, width)) * i for i in range(9)}, "motion": {"bias": jnp.ones(4)}}
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, zero, zero, params=arrays, ema=arrays, opt_state=arrays)


@pytest.fixture
def saved(tmp_path) -> Checkpoints:
    """Of one checkpoint, of step 5."""
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    checkpoints.save(5, state(), {"config": {}})
    checkpoints.close()
    return checkpoints


def restore(checkpoints, width: int = 3, said=None):
    places = jax.tree.map(lambda _: HERE, state(width))
    say = ([] if said is None else said).append
    return checkpoints.restore(jax.eval_shape(lambda: state(width)), places, lambda record: None, say)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def array_file(checkpoints, part="params"):
    return max((checkpoints.directory / "5" / part / "d").iterdir(), key=lambda path: path.stat().st_size)


def test_comes_back(saved):
    found, record = restore(saved)
    jax.tree.map(np.testing.assert_array_equal, found, state())
    assert record["step"] == 5 and record["shapes"]["['params']['motion']['bias']"] == [4]


def test_arrays_of_another_model_are_named_before_orbax_is_asked(saved, monkeypatch):
    monkeypatch.setattr(checkpoint.ocp, "load_checkpointables", lambda *_: pytest.fail("Orbax was asked"))
    words = re.escape("of another model than the config: ['averages']['audio']['kernel_0'] has shape (2, 3), not (2, 7)")
    with pytest.raises(InputError, match=words):
        restore(saved, width=7)
    assert steps(saved.directory) == [5]  # nothing is wrong with it


@pytest.mark.parametrize("name, words", [
    ("_CHECKPOINT_METADATA", "it has no record of format 1 that can be read"),
    ("params/_METADATA", "one of its JSON files"),
    ("params", "OUT_OF_RANGE: .* is not valid for value of size"),
    ("averages", "OUT_OF_RANGE: .* is not valid for value of size"),
])  # fmt: skip
def test_damage_is_said_once_and_in_one_line(saved, name, words, capfd, recwarn, caplog):
    truncate(array_file(saved, name) if name in ("params", "averages") else saved.directory / "5" / name)
    loud, said = [], []
    before, sys.unraisablehook = sys.unraisablehook, loud.append
    try:
        with pytest.raises(InputError, match="no checkpoint is whole"):
            restore(saved, said=said)
        gc.collect()
    finally:
        sys.unraisablehook = before
    assert len(said) == 1 and re.search(f"5 is damaged [(].*{words}", said[0]) and "\n" not in said[0] and len(said[0]) < 500
    assert not loud and not recwarn.list and not caplog.records and capfd.readouterr() == ("", "")


def test_nothing_starts_anew_beside_damaged_checkpoints(saved):
    truncate(array_file(saved))
    for _ in range(2):  # the same command again
        with pytest.raises(InputError, match=r"steps 5\) are in .*run/damaged: take another --workdir, or remove "):
            restore(saved)
    (saved.directory.parent / "damaged" / "5").rename(saved.directory.parent / "elsewhere")
    assert restore(saved) is None


@pytest.mark.parametrize("error", [
    OSError(5, "Input/output error", "x"), OSError(24, "Too many open files"), MemoryError(),
    RuntimeError("RESOURCE_EXHAUSTED: out of memory"),
    ValueError("UNKNOWN: Failed to open: \"x\": Input/output error [os_error_code='5']"),
])  # fmt: skip
@pytest.mark.parametrize("function", ["load_checkpointables", "checkpointables_metadata"])
def test_a_passing_error_sets_nothing_aside(saved, monkeypatch, error, function):
    def fail(*_):
        raise KeyError("Failed to load checkpointable") from error

    monkeypatch.setattr(checkpoint.ocp, function, fail)
    with pytest.raises(InputError, match="5 cannot be read now [(].*; it was left as it is"):
        restore(saved)
    monkeypatch.undo()
    assert restore(saved)[1]["step"] == 5


def test_tensorstore_tells_passing_errors_from_damage(saved):
    path = array_file(saved)
    path.rename(path.with_name("kept"))
    at, params = saved.directory / "5", jax.tree.map(abstract, state().params)
    with pytest.raises(Damaged, match="NOT_FOUND"):
        checkpoint.load(at, {"params": params}, checkpoint.read_record(at))
    path.symlink_to(path)  # a loop: an error of the file system
    with pytest.raises(InputError, match="cannot be read now [(]UNKNOWN: .*Too many levels of symbolic links[)]"):
        restore(saved)


def abstract(leaf):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=HERE)


def test_a_checkpoint_that_cannot_be_written_is_one_line(saved, monkeypatch):
    def full(*_, **__):
        raise ValueError("Error writing: No space left on device [os_error_code='28']")

    monkeypatch.setattr(checkpoint.ocp.training.Checkpointer, "save_checkpointables_async", full)
    with pytest.raises(InputError, match="a checkpoint cannot be written to .*checkpoints [(].*No space left on device[)]; "):
        saved.save(6, state(), {"config": {}})
    monkeypatch.setattr(checkpoint.ocp.training.Checkpointer, "close", full)
    with pytest.raises(InputError, match="a checkpoint cannot be written"):
        saved.close()
    saved.close()  # said once


def test_what_is_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", CheckpointConfig(keep=1, keep_every=4, keep_best="total"))
    for step in range(1, 8):
        losses = {"total": abs(step - 3.0), "audio": 1.0} if step % 3 == 0 else None
        checkpoints.save(step, state(), {"config": {}}, losses)
    checkpoints.close()
    assert steps(checkpoints.directory) == [3, 4, 7]
    assert checkpoints.best({"params": jax.tree.map(abstract, state().params)})[1]["step"] == 3
