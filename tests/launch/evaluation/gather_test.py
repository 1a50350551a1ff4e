"""What processes find of their clips is the same everywhere, in clip order."""
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from launch.evaluation.gather import own, shared

PROGRAM = """
import numpy as np
from jamflow_jax.parallel.processes import start_processes
start_processes()
from launch.evaluation.gather import own, shared
found = shared({i: {"speech|model, shuffled|wer": np.array([i, 1.0]), "z": np.zeros((i, 3), np.float32)} for i in own(5)})
assert list(found) == [0, 1, 2, 3, 4], list(found)
assert all(found[i]["speech|model, shuffled|wer"][0] == i and found[i]["z"].shape == (i, 3) for i in found)
"""


def test_one_process_has_all():
    assert list(own(3)) == [0, 1, 2]
    found = shared({1: {"a": np.ones(2)}, 0: {"a": np.zeros(2)}})
    assert list(found) == [0, 1] and (found[1]["a"] == 1).all()


@pytest.mark.slow
def test_two_processes_share():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    several = {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": "2", "JAX_PLATFORMS": "cpu"}
    running = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], env={**os.environ, **several, "JAX_PROCESS_ID": str(i)}) for i in range(2)
    ]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
