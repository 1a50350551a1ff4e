"""Trains the same run in one process on two devices and in two processes on one device each, and compares the losses bit for bit.

    python -m benchmarks.processes [--data DIR] [--steps 8] [--mesh data=2,fsdp=1] [--restart] [--set FIELD=VALUE]
                                   [--out runs/processes]

Both are `jamflow train` on CPU devices, the two processes joined by gloo as on a cluster (JAX_COORDINATOR_ADDRESS and its kin).
With --restart the two end half way, and the same command goes on with worker processes that read. Without --data a small mixed
set is made: sound and motion, sound only, motion only, so that programs of both streams and of one alone run. Exit code 0 only if
metrics.jsonl of both runs is the same file.
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

LIMIT = 1_800  # seconds that a run may take
MODEL = (
    "log_every=1", "optim.warmup=2", "optim.lr=1e-2", "optim.decay=constant", "checkpoint.every=4", "evaluation.every=0",
    "data.buckets=1", "data.batch_frames=600", "data.max_batch=4", "model.joint_layers=(0,)", "model.audio.text_width=16",
    *(f"model.{stream}.{size}" for stream in ("audio", "motion") for size in ("width=32", "depth=1", "heads=2", "head_dim=16")),
    "model.audio.text_layers=1",
)  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a prepared data set, or several as data.path takes them; default: a small mixed one")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--restart", action="store_true", help="end the two half way and go on with worker processes")
    parser.add_argument("--mesh", default="data=1,fsdp=2", help="axes of the two devices")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the configuration of both runs")
    parser.add_argument("--out", type=Path, default=Path("runs/processes"), help="must not hold an earlier comparison")
    options = parser.parse_args(argv)
    if options.restart and options.steps < 6:
        parser.error("--restart needs --steps of 6 or more: half of them must outlast the warm-up")
    if (options.out / "one").exists():
        parser.error(f"{options.out} holds an earlier comparison; name another --out")
    options.out.mkdir(parents=True, exist_ok=True)
    data = options.data or mixed_set(options.out / "data")
    mesh, half = [f"mesh.{axis}" for axis in options.mesh.split(",")], options.steps // 2

    def train(name: str, processes: int, steps: int, *more: str) -> None:
        start, fields = time.perf_counter(), (f"data.path={data}", f"steps={steps}", *options.set)
        run(options.out / name, processes, (*MODEL, *mesh, *fields, *more))
        print(f"{name}: {processes} x {2 // processes}, to step {steps}, in {time.perf_counter() - start:.0f} s", flush=True)

    train("one", 1, options.steps)
    if options.restart:
        train("two", 2, half)
    train("two", 2, options.steps, *(("data.workers=1",) if options.restart else ()))
    texts = [(options.out / name / "metrics.jsonl").read_text() for name in ("one", "two")]
    losses = [row["loss"] for row in map(json.loads, texts[0].splitlines()) if "lr" in row]
    print(f"losses {losses[0]:.6f} ... {losses[-1]:.6f}")
    same = texts[0] == texts[1]
    digests = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    print(f"metrics.jsonl: 1 x 2 {digests[0]}, 2 x 1 {digests[1]}: {'the same' if same else 'DIFFERENT'}")
    return 0 if same else 1


def run(workdir: Path, processes: int, fields: tuple[str, ...]) -> None:
    """`jamflow train` on two devices in so many processes, to the end."""
    words = [sys.executable, "-u", "-m", "launch.train", "--config", "configs/quickstart.py", "--workdir", str(workdir),
             *(f"--config.{field}" for field in fields)]  # fmt: skip
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    started, logs = [], [workdir.with_name(f"{workdir.name}-{number}.log") for number in range(processes)]
    try:
        for number, log in enumerate(logs):
            env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={2 // processes}"}
            if processes > 1:
                env |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes), "JAX_PROCESS_ID": str(number)}
            with open(log, "w") as output:
                started.append(subprocess.Popen(words, env=env, stdout=output, stderr=subprocess.STDOUT))
        end = time.monotonic() + LIMIT
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
