"""Time and memory of a joint layer's attention against clip length, forward and backward, backend beside backend in one run.

    python -m benchmarks.attention [--seconds 5,10,20,40,80,160] [--heads 16] [--rows motion|both] [--dtype float32]
                                   [--backends dense,banded]   of model/backends.py; cudnn needs a GPU and bfloat16, splash a TPU
    python -m benchmarks.attention --topology v5e:2x2          compiles `splash` for a TPU that is not there (needs libtpu)

One clip, heads of 64, the default windows. Time: the fastest of several calls, on a CPU by the process's own clock. Memory:
temporaries, from the compiler; a form that wants more than --most GiB is not run. Prints a Markdown table.
"""
import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jamflow_jax.model.backends import BACKENDS
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.parallel.mesh import batch_sharding, make_mesh
from jamflow_jax.timeline import mel_frames_of_seconds, motion_frames
from launch.allocator import keep_freed_memory


def gradient(backend, rows: str, audio, motion):
    """Gradients of a sum over the outputs, with respect to queries, keys and values of both streams."""

    def total(audio, motion):
        out = BACKENDS[backend].joint_attention(audio, motion, WindowConfig())
        return sum(x.astype(jnp.float32).sum() for x in (out if rows == "both" else out[1:]))

    return jax.grad(total, argnums=(0, 1))(audio, motion)


def measure(backend: str, rows: str, seconds: float, heads: int, dtype: str, most: float, calls: int = 5) -> tuple[float, float]:
    """(seconds a call or nan, GiB of temporaries)."""
    rng = np.random.default_rng(0)
    frames = mel_frames_of_seconds(seconds)
    shapes = [(1, n, heads, 64) for n in (frames, motion_frames(frames))]
    streams = [tuple(jnp.asarray(rng.normal(size=shape), dtype) for _ in range(3)) for shape in shapes]
    compiled = jax.jit(partial(gradient, backend, rows)).lower(*streams).compile()
    memory = compiled.memory_analysis().temp_size_in_bytes / 2**30
    if memory > most:
        return float("nan"), memory
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    best = float("inf")
    for _ in range(calls):
        start = clock()
        jax.block_until_ready(compiled(*streams))
        best = min(best, clock() - start)
    return best, memory


def compile_for(topology: str, seconds: list[float], heads: int) -> None:
    """Forward and backward with `splash`, each device of the topology with an example of its own, compiled ahead of time."""
    from jax.experimental.topologies import get_topology_desc

    devices = get_topology_desc(platform="tpu", topology_name=topology).devices
    mesh = make_mesh(data=len(devices), fsdp=1, devices=devices)
    for length in seconds:
        frames = mel_frames_of_seconds(length)
        shapes = [(len(devices), n, heads, 64) for n in (frames, motion_frames(frames))]
        with jax.set_mesh(mesh):
            streams = [(jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=batch_sharding(mesh)),) * 3 for shape in shapes]
            memory = jax.jit(partial(gradient, "splash", "both")).lower(*streams).compile().memory_analysis()
        print(f"{topology}: {length:g} s compiled, {memory.temp_size_in_bytes / 2**30:.3f} GiB of temporaries a chip", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", default="5,10,20,40,80,160")
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--rows", choices=("motion", "both"), default="motion")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--backends", default="dense,banded", help="the first is what the others are compared with")
    parser.add_argument("--most", type=float, default=6.0, metavar="GIB")
    parser.add_argument("--topology", metavar="TPU")
    o = parser.parse_args()
    lengths, names = [float(x) for x in o.seconds.split(",")], o.backends.split(",")
    if o.topology:
        return compile_for(o.topology, lengths, o.heads)
    keep_freed_memory()  # as `jamflow train` does
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {o.heads} heads, {o.dtype}, {o.rows} rows\n")
    ratios = [f"{names[0]} / {name}" for name in names[1:]]
    columns = ["clip", *(f"{name}, s" for name in names), *ratios, *(f"{name}, GiB" for name in names)]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for seconds in lengths:
        found = [measure(name, o.rows, seconds, o.heads, o.dtype, o.most) for name in names]
        times, memories = zip(*found)
        cells = [f"{t:.3f}" for t in times] + [f"{times[0] / t:.2f}" for t in times[1:]] + [f"{m:.3f}" for m in memories]
        print(f"| {seconds:g} s | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
