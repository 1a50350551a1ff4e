"""A CPU run keeps the memory that its programs free; a run that may have another device keeps the defaults."""
import subprocess
import sys

import pytest

PROGRAM = """
import os, resource
from launch.allocator import keep_freed_memory
if {keep}:
    keep_freed_memory()
os.environ["JAX_PLATFORMS"] = "cpu"  # whatever was to be
import jax, jax.numpy as jnp
big = jax.jit(lambda x: jnp.sort(x * 2).sum())  # 64 MB of temporaries
x = jnp.ones(16_000_000)
counts = []
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    big(x).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(counts))
"""


def faults(keep: bool, platforms: str = "cpu") -> int:
    """Page faults of a call, at least."""
    program = PROGRAM.format(keep=keep)
    environment = {"JAX_PLATFORMS": platforms, "PYTHONPATH": ".", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_pages_stay():
    assert faults(keep=False) > 1_000
    assert faults(keep=True) < 100
    assert faults(keep=True, platforms="cuda,cpu") > 1_000
