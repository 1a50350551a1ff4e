"""Trains the same run in one process on N devices and in N processes on one device each, and compares all figures it writes.

    python -m benchmarks.processes [--processes 2] [--data DIR] [--steps 8] [--mesh data=1,fsdp=1,tensor=2] [--restart]
                                   [--set FIELD=VALUE] [--limit SECONDS] [--out DIR]

All are `jamflow train` on CPU devices, the processes joined by gloo as on a cluster (JAX_COORDINATOR_ADDRESS and its kin), with
held-out losses and checkpoints written in the background. With --restart the N end half way; half as many processes, two devices
each, with worker processes that read, go on. The figures of metrics.jsonl must agree to 1e-5 (with two processes mostly the bytes
do; gloo adds four numbers in another order than one process). A third run goes on half way from one process to N on another mesh:
its figures must agree to 1e-4. With tensor or sequence N in --mesh the processes share the work of every example. Without --data a
small mixed set is made: sound and motion, sound only, motion only, so that programs of both streams and of one alone run. Exit code
0 only if all that holds.
"""
import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

MODEL = (
    "log_every=1", "optim.warmup=2", "optim.lr=1e-2", "optim.decay=constant", "checkpoint.every=2", "evaluation.every=4",
    "evaluation.batches=1",
    "data.buckets=1", "data.batch_frames=600", "data.max_batch=4", "model.joint_layers=(0,)", "model.audio.text_width=16",
    *(f"model.{stream}.{size}" for stream in ("audio", "motion") for size in ("width=32", "depth=1", "heads=2", "head_dim=16")),
    "model.audio.text_layers=1",
)  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a prepared data set, or several as data.path takes them; default: a small mixed one")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2, choices=(2, 4))
    parser.add_argument("--restart", action="store_true", help="end half way and go on with other processes; and on another mesh")
    parser.add_argument("--mesh", help="axes of the devices; default: data=1,fsdp=N")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the configuration of all runs")
    parser.add_argument("--limit", type=float, default=1_800.0, metavar="SECONDS", help="that a run may take (default %(default)g)")
    parser.add_argument("--out", type=Path, default=Path("runs/processes"), help="must not hold an earlier comparison")
    options = parser.parse_args(argv)
    if options.restart and options.steps < 6:
        parser.error("--restart needs --steps of 6 or more: half of them must outlast the warm-up")
    if (options.out / "one").exists():
        parser.error(f"{options.out} holds an earlier comparison; name another --out")
    options.out.mkdir(parents=True, exist_ok=True)
    data = options.data or mixed_set(options.out / "data")
    many, half = options.processes, options.steps // 2
    mesh = [f"mesh.{axis}" for axis in (options.mesh or f"data=1,fsdp={many}").split(",")]

    def train(name: str, processes: int, steps: int, *more: str) -> None:
        start, fields = time.perf_counter(), (f"data.path={data}", f"steps={steps}", *options.set)
        run(options.out / name, processes, many // processes, (*MODEL, *mesh, *fields, *more), options.limit)
        print(f"{name}: {processes} x {many // processes}, to step {steps}, in {time.perf_counter() - start:.0f} s", flush=True)

    def curve(name: str) -> str:
        return (options.out / name / "metrics.jsonl").read_text()

    train("one", 1, options.steps)
    if options.restart:
        train("many", many, half)
        train("many", many // 2, options.steps, "data.workers=1")
    else:
        train("many", many, options.steps)
    losses = [row["loss"] for row in map(json.loads, curve("one").splitlines()) if "loss" in row]
    print(f"losses {losses[0]:.6f} ... {losses[-1]:.6f}")
    same = curve("one") == curve("many")
    digests = [hashlib.sha256(curve(name).encode()).hexdigest()[:16] for name in ("one", "many")]
    found = "the same bytes" if same else f"figures agree to {apart(curve('many'), curve('one')):.1e}"
    print(f"metrics.jsonl: 1 x {many} {digests[0]}, {many} x 1 {digests[1]}: {found}")
    good = same or apart(curve("many"), curve("one")) < 1e-5
    if options.restart:
        train("remeshed", 1, half)
        train("remeshed", many, options.steps, f"mesh.data={many}", *(f"mesh.{axis}=1" for axis in ("fsdp", "tensor", "sequence")))
        off = apart(curve("remeshed"), curve("one"))
        print(f"half way from 1 process to {many} on mesh data={many}, fsdp=1: figures agree to {off:.1e}")
        good &= off < 1e-4
    return 0 if good else 1


def apart(one: str, other: str) -> float:
    """The largest relative difference of any figure between two metrics.jsonl. Raises ValueError: not of the same steps."""
    pairs = [(json.loads(a), json.loads(b)) for a, b in zip(one.splitlines(), other.splitlines(), strict=True)]
    figures = [(a[key], b[key]) for a, b in pairs for key in (a | b) if key != "split"]
    return max(abs(a - b) / max(abs(b), 1e-30) for a, b in figures)


def run(workdir: Path, processes: int, devices: int, fields: tuple[str, ...], limit: float) -> None:
    """`jamflow train` in so many processes with so many devices each, to the end, which comes within `limit` seconds."""
    words = [sys.executable, "-u", "-m", "launch.train", "--config", "configs/quickstart.py", "--workdir", str(workdir),
             *(f"--config.{field}" for field in fields)]  # fmt: skip
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    started, logs = [], [workdir.with_name(f"{workdir.name}-{number}.log") for number in range(processes)]
    try:
        for number, log in enumerate(logs):
            env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
            if processes > 1:
                env |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes), "JAX_PROCESS_ID": str(number)}
            with open(log, "w") as output:
                started.append(subprocess.Popen(words, env=env, stdout=output, stderr=subprocess.STDOUT))
        end = time.monotonic() + limit
        codes = [process.wait(max(1, end - time.monotonic())) for process in started]
    finally:
        for process in started:
            process.kill()
    if any(codes):
        raise SystemExit(f"{workdir}: exit codes {codes}; the log ends:\n{logs[0].read_text()[-2000:]}")


def mixed_set(out: Path) -> Path:
    """24 clips of 0.5 to 1.6 s: with sound and motion, sound alone, motion alone."""
    import numpy as np

    from data_pipelines.prepare.build import Example, build
    from jamflow_jax.motion import space

    def clips():
        for i in range(24):
            rng, seconds = np.random.default_rng(i), 0.5 + i % 12 / 10
            audio = rng.normal(0, 0.1, int(seconds * 24_000)).astype(np.float32) if i % 4 != 3 else None
            motion = rng.normal(size=(round(seconds * 25), 2)).astype(np.float32) if i % 4 != 2 else None
            yield Example(f"clip{i:02d}", audio, motion, f"clip number {i}", split="validation" if i >= 20 else "train")

    build(clips(), out, space.get("lips"))
    return out


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
