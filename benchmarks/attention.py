"""Time and memory of a joint layer's attention against clip length, forward and backward, dense and banded, in one run.

    python -m benchmarks.attention [--seconds 5,10,20,40,80,160] [--heads 16] [--rows motion|both] [--dtype float32]

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
from jamflow_jax.timeline import mel_frames_of_seconds, motion_frames


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", default="5,10,20,40,80,160")
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--rows", choices=("motion", "both"), default="motion")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--most", type=float, default=6.0, metavar="GIB")
    o = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {o.heads} heads, {o.dtype}, {o.rows} rows\n")
    print("| clip | dense, s | banded, s | dense / banded | dense, GiB | banded, GiB |\n|---|---|---|---|---|---|")
    for seconds in map(float, o.seconds.split(",")):
        (dense, much), (banded, little) = (measure(name, o.rows, seconds, o.heads, o.dtype, o.most) for name in ("dense", "banded"))
        print(f"| {seconds:g} s | {dense:.3f} | {banded:.3f} | {dense / banded:.2f} | {much:.3f} | {little:.3f} |", flush=True)


if __name__ == "__main__":
    main()
