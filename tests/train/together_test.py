"""Two processes with a checkpoint that only one of them finds damaged, or cannot read: both do the same."""
import json
import os
import socket
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
from pathlib import Path
import jax, jax.numpy as jnp
from jamflow_jax import storage
from jamflow_jax.errors import InputError
from jamflow_jax.parallel import processes
from jamflow_jax.train import checkpoint
from jamflow_jax.train.config import CheckpointConfig
from jamflow_jax.train.state import TrainState

def end(*error):
    sys.__excepthook__(*error)
    processes.leave(1, repr(error[1]))

sys.excepthook = end
processes.start_processes(120, 60)
place = jax.NamedSharding(jax.make_mesh((2,), ("data",)), jax.P("data"))
one, folder = jax.process_index(), Path(sys.argv[1])

def whole():
    arrays = {"audio": {"kernel": jnp.arange(8192.0).reshape(2, 4096)}, "motion": {"bias": jnp.ones((2, 2048))}}
    zero = jnp.zeros(2, jnp.int32)  # a scalar lies in all
    return TrainState(zero, zero, zero, params=arrays, ema=arrays, opt_state=arrays)

def mine(step):  # where the numbers of process 1 lie
    files = [path for path in (folder / "run/checkpoints" / str(step)).rglob("*") if "/ocdbt.process_1/d/" in str(path)]
    return max(files, key=lambda path: ("/params/" in str(path), path.stat().st_size))

def cut(path):
    path.write_bytes(path.read_bytes()[:-2000])

def flip(path):
    data = path.read_bytes()
    path.write_bytes(data[:3000] + bytes([data[3000] ^ 1]) + data[3001:])

def loop(path):
    path.unlink(), path.symlink_to(path)

def unreadable(path):
    metadata = checkpoint.ocp.checkpointables_metadata
    def fail(path):
        checkpoint.ocp.checkpointables_metadata = metadata
        raise ValueError("not a record")
    checkpoint.ocp.checkpointables_metadata = fail

def unseen(path):
    names = storage.names
    def fewer(folder):
        storage.names = names
        return [name for name in names(folder) if name != "3"]
    storage.names = fewer

harms = {harm.__name__: harm for harm in (Path.unlink, cut, flip, loop, unreadable, unseen)}
make = jax.jit(whole, out_shardings=place)
shapes = jax.eval_shape(whole)
places = jax.tree.map(lambda _: place, shapes)
checkpoints = checkpoint.Checkpoints(folder / "run/checkpoints", CheckpointConfig(keep=9))

def restored(said):
    found = checkpoints.restore(shapes, places, lambda record: None, said.append)
    return found[1]["step"]

def best(said):
    arrays = {"params": jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes.params)}
    return checkpoints.best(arrays, said.append)[1]["step"]

def add(step, loss):
    checkpoints.save(step, make(), {"config": {}}, {"total": loss})
    checkpoints.close()

add(3, 0.5)
for step, (name, read) in enumerate([*((name, restored) for name in harms), ("flip", best), ("unreadable", best)], 4):
    add(step, 0.1)
    if one == 1:
        harms[name](mine(step))
    processes.meet()
    said = []
    try:
        said.append(read(said))
    except InputError as error:
        said.append(f"error: {error}")
    print(json.dumps(said), flush=True)
    processes.meet()
    if one == 0:
        storage.remove(folder / "run/checkpoints" / str(step))
    processes.meet()
processes.finish()
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What each of the two processes has said of each checkpoint."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        joined = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free.getsockname()[1]}", "JAX_NUM_PROCESSES": "2"}
    folder = tmp_path_factory.mktemp("together")
    both = [subprocess.Popen([sys.executable, "-c", SCRIPT, folder], env={**os.environ, **joined, "JAX_PROCESS_ID": str(number)},
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for number in range(2)]  # fmt: skip
    try:
        ends = [process.communicate(timeout=500) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], "\n".join(errors[-2000:] for _, errors in ends)
    assert not any("RuntimeWarning" in errors or "Traceback" in errors for _, errors in ends)
    return [[json.loads(line) for line in said.splitlines() if line.startswith('["')] for said, _ in ends]  # gloo speaks, too


def test_both_say_the_same(told):
    assert told[0] == told[1] and len(told[0]) == 8


@pytest.mark.parametrize("number, words", enumerate([
    "process 1: DATA_LOSS: ", "process 1: OUT_OF_RANGE: ", "['params']['audio']['kernel'] is not what was saved",
]))  # fmt: skip
def test_damage_that_one_process_finds_makes_both_go_back(told, number, words):
    step = 4 + number
    damaged, going, found = told[0][number]
    assert f"{step} is damaged ({words}" in damaged and "moved to" in damaged and "step 3, which is whole" in going
    assert found == 3


def test_an_error_of_one_process_that_passes_ends_both_and_moves_nothing(told):
    (error,) = told[0][3]
    assert "7 cannot be read now (process 1: UNKNOWN: " in error and error.endswith("it was left as it is")


def test_a_record_that_one_process_cannot_read(told):
    assert "8 is damaged (process 1: not a record)" in told[0][4][0] and told[0][4][-1] == 3


def test_processes_that_see_different_checkpoints_end(told):
    (error,) = told[0][5]
    assert "process 1 sees checkpoints of steps [9] there, process 0 of [3, 9]: all processes need the same directory" in error


def test_the_best_gives_way_in_both(told):
    flipped, unreadable = told[0][6:]
    assert "10 is damaged (['params']['audio']['kernel']" in flipped[0] and flipped[1:] == [3]
    assert "3 is damaged (process 1: not a record)" in unreadable[0] and unreadable[1:] == [11]
