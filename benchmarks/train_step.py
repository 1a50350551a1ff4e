"""Our train step against PyTorch's, interleaved in one run: same weights, batch and threads, float32.

    python -m benchmarks.train_step [--depth 22] [--batch 2] [--frames 480] [--threads 2] [--rounds 5] [--remat none]
                                     [--attention banded] [--unrolled] [--compile] [--joint]

Speech alone against F5-TTS's own step; with --joint, speech and motion together against the twin that `jamflow convert torch`
writes (benchmarks/torch_steps.py). Width 1024, 16 heads, as F5TTS_v1_Base; --depth is the number of layers, of each stream, the
first half of them joined. One step is: draw spans, times and noise; forward and backward, speech alone with dropout 0.1 (the twin
has none); clip the gradient by its norm; AdamW. Ours also averages its parameters; F5-TTS's trainer does so every tenth step,
which is timed alone and counts for nothing, the twin never. The same run measures how fast both libraries multiply the matrices a
layer is made of. Prints Markdown: each row the fastest round by CPU time (of all threads: other jobs disturb it little) and by
wall time; PyTorch's time over ours in the same round, where what slows a machine down for minutes slows both, as the median of the
rounds and their range; and the step's analytic FLOPs over its time, of the faster library's rate of multiplying and, where the
chip's peak is known, of that (utilisation).

F5-TTS's code is installed, never copied; without it our rows alone are printed:

    pip install torch==2.13.0 x-transformers torchdiffeq pypinyin rjieba; pip install --no-deps f5-tts==1.1.22
"""
import argparse
import importlib.util
import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import torch_steps
from jamflow_jax.model import AudioConfig, JamFlowConfig, MotionConfig
from jamflow_jax.model.backends import BACKENDS
from jamflow_jax.parallel.mesh import make_mesh, put_batch
from jamflow_jax.timeline import motion_frames
from jamflow_jax.train.config import OptimConfig, RunConfig
from jamflow_jax.train.flops import mfu, step_flops
from jamflow_jax.train.state import initialise, layout
from jamflow_jax.train.step import make_train_step
from launch.allocator import keep_freed_memory

MOUTH, REST = 12, 51  # numbers of a motion frame: LivePortrait's expression
CLOCKS = ("CPU", "wall")


def run_config(o: argparse.Namespace) -> RunConfig:
    """Speech alone: the motion stream, which a config has to have, is as narrow as can be and is not run."""
    dropout = 0.0 if o.joint else 0.1
    trunk = {name: getattr(o, name) for name in ("depth", "remat", "dtype", "attention")}
    trunk |= {"dropout": dropout, "scan": not o.unrolled}
    if o.joint:
        return RunConfig(model=JamFlowConfig(AudioConfig(**trunk), MotionConfig(**trunk, mouth_dim=MOUTH, rest_dim=REST)))
    model = JamFlowConfig(AudioConfig(**trunk), MotionConfig(**trunk, width=16, mouth_dim=1, rest_dim=1), joint_layers=())
    return RunConfig(model=model, optim=OptimConfig(motion_lr=0.0))


def random_params(config: RunConfig):
    """Random everywhere, in float32 on the host: a fresh model's velocity is zero whatever its layers do."""
    rng, shapes = np.random.default_rng(0), layout(config, make_mesh(devices=jax.devices()[:1]))[0].params
    return jax.tree.map(lambda leaf: 0.02 * rng.standard_normal(leaf.shape, np.float32), shapes)


def random_batch(size: int, frames: int, vocabulary: int = 2545, mouth: int = 0, rest: int = 1) -> dict[str, np.ndarray]:
    """Speech, and where `mouth` numbers of a frame are given motion; 9/10 of the frames on average, a character for six of them."""
    rng, motion = np.random.default_rng(1), (size, motion_frames(frames))
    length_B = np.linspace(frames, 0.8 * frames, size).astype(np.int32)
    text_BN = np.where(np.arange(frames // 6) < length_B[:, None] // 6, rng.integers(0, vocabulary, (size, frames // 6)), -1)
    yes, moving = np.ones(size, bool), np.full(size, mouth > 0)
    return {
        "mel": rng.standard_normal((size, frames, 100), np.float32),
        "mouth": rng.standard_normal((*motion, mouth), np.float32) if mouth else np.zeros((*motion, 1), np.float32),
        "rest": rng.standard_normal((*motion, rest), np.float32) if mouth else np.zeros((*motion, rest), np.float32),
        "text": text_BN.astype(np.int32), "length": length_B,
        "example_id": np.arange(size, dtype=np.int32), "weight": np.ones(size, np.float32),
        "has_audio": yes, "has_text": yes, "has_motion": moving, "has_rest": moving,
    }  # fmt: skip


def ours(config: RunConfig, params, batch, streams: tuple[str, ...]) -> tuple[Callable[[], None], float]:
    """(one step, seconds to trace and compile it)."""
    mesh = make_mesh(devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        state, batch = initialise(config, mesh, params), put_batch(batch, mesh)
        start = time.perf_counter()
        step = make_train_step(config, mesh, np.ones(config.model.motion.mouth_dim, bool))
        compiled = step.lower(state, batch, streams).compile()
        seconds = time.perf_counter() - start

    def run():
        nonlocal state
        with jax.set_mesh(mesh):
            state, metrics = compiled(state, batch, step.seed)
            assert np.isfinite(float(jax.block_until_ready(metrics)["loss"]))
            jax.block_until_ready(state)

    return run, seconds


def products(tokens: int, dtype: str, with_torch: bool) -> tuple[dict[str, Callable[[], None]], float]:
    """({library: multiplies what a layer multiplies, forward and both ways backward}, FLOPs)."""
    rng, shapes = np.random.default_rng(2), [(tokens, 1024, 3072), (tokens, 1024, 2048), (tokens, 2048, 1024), (1024, tokens, 2048)]
    pairs = [(rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)) for m, k, n in shapes]
    arrays, dot = jax.tree.map(lambda a: jnp.asarray(a, dtype), pairs), jax.jit(jnp.matmul)
    made = {"XLA": lambda: jax.block_until_ready([dot(*pair) for pair in arrays])}
    if with_torch:
        import torch

        device, finish = torch_steps.device()
        tensors = [tuple(torch.from_numpy(a).to(device, getattr(torch, dtype)) for a in pair) for pair in pairs]

        def multiply():
            for pair in tensors:
                torch.matmul(*pair)
            finish()

        made["PyTorch"] = multiply
    return made, sum(2.0 * m * k * n for m, k, n in shapes)


def interleaved(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, np.ndarray]:
    """{name: CPU and wall seconds of each round, [rounds, 2]}, after one round for warmth."""
    took = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            took[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {name: np.array(rows[1:]) for name, rows in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"depth": 22, "batch": 2, "frames": 480, "threads": 2, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--remat", choices=("none", "attention", "dots", "full"), default="none", help="ours")
    parser.add_argument("--unrolled", action="store_true", help="ours: layer after layer, `model.audio.scan=False`")
    parser.add_argument("--attention", choices=tuple(BACKENDS), default="banded", help="ours")
    parser.add_argument("--joint", action="store_true", help="speech and motion, against our own twin in PyTorch")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of our step's computation")
    parser.add_argument("--compile", action="store_true", help="PyTorch's model also through torch.compile, a third step")
    parser.add_argument("--alone", action="store_true", help="without PyTorch's")
    o = parser.parse_args()
    if jax.config.jax_platforms in (None, "cpu"):
        os.sched_setaffinity(0, list(os.sched_getaffinity(0))[: o.threads])  # before any library starts its threads
    keep_freed_memory()  # as `jamflow train` does; it is PyTorch's allocator too
    with_torch = not o.alone and importlib.util.find_spec("torch") is not None
    if with_torch:
        import torch

        torch.set_num_threads(o.threads)
    form = "unrolled" if o.unrolled else "scan"
    config = run_config(o)
    streams, dims = (("audio", "motion"), (MOUTH, REST)) if o.joint else (("audio",), (0, 1))
    batch = random_batch(o.batch, o.frames, mouth=dims[0], rest=dims[1])
    params = random_params(config)
    runs, flops = products(o.batch * o.frames, o.dtype, with_torch)
    multiply = {f"multiplying, {name}": run for name, run in runs.items()}
    runs = dict(multiply)
    runs["ours"], seconds = ours(config, params, batch, streams)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {o.dtype}, {o.attention}, remat {o.remat}, {form}")
    size = f"{o.depth} layers of {' and '.join(streams)}, batch {o.batch} x {o.frames}"
    print(f"{o.threads} threads, {size}; compiled in {seconds:.1f} s", flush=True)
    opponents = []
    if with_torch and (o.joint or importlib.util.find_spec("f5_tts")):
        for compiled in (False, True)[: 1 + o.compile]:
            if o.joint:
                made, difference = torch_steps.twin(config.model, params, batch, compiled)
            else:
                made, difference = torch_steps.f5tts(config.model.audio, params["audio"], batch, compiled)
            runs |= made
            opponents.append(next(iter(made)))
        print(f"velocities differ by {difference:.1e} of their standard deviation", flush=True)
    del params  # 22 layers of both libraries just fit 24 GiB
    took = interleaved(runs, o.rounds)
    best = {name: rows.min(0) for name, rows in took.items()}
    print("\n| | CPU s | wall s |\n|---|---|---|")
    for name, (cpu, wall) in best.items():
        print(f"| {name} | {cpu:.3f} | {wall:.3f} |")
    for name in opponents:
        for clock, ratios in zip(CLOCKS, (took[name] / took["ours"]).T):
            print(f"\n{name} / ours by {clock} time: {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")
    clock = 0 if jax.default_backend() == "cpu" else 1  # of an accelerator the host's CPU says nothing
    rate, work = max(flops / best[name][clock] for name in multiply), step_flops(config, batch["length"].tolist(), streams)
    print(f"\nmatrices are multiplied at {rate / 1e9:.1f} GFLOP per {CLOCKS[clock]} second; "
          f"a step is {work / 1e9:.1f} GFLOP; of that rate:")  # fmt: skip
    print(", ".join(f"{name} {work / best[name][clock] / rate:.0%}" for name in ("ours", *opponents)))
    share = mfu(work, best["ours"][1], 1, jax.devices()[0].device_kind)
    if share is not None:
        print(f"utilisation of the chip's dense bfloat16 peak: ours {share:.1%}")


if __name__ == "__main__":
    main()
