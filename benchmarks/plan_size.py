"""Memory and time that a plan needs to start, on synthetic indices: 40 million clips, by default.

    python -m benchmarks.plan_size [--clips 40000000] [--out runs/plan_size]

Writes an index of so many clips (lengths of a speech corpus, three mixes of modalities, names, three splits) once. A fresh process
then opens it as training does, plans with twelve buckets chosen for each mix, takes batches near and far, plans the validation
split, and is pickled as for a worker process. Prints seconds, peak resident memory and what was sent; ends with exit code 1 above
30 s or 2 GiB.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from data_pipelines.index import AUDIO, MOTION, TEXT, Index

SECONDS, BYTES = 30, 2 * 2**30
BLOCK = 4_000_000  # clips made at once


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40_000_000)
    parser.add_argument("--out", type=Path, default=Path("runs/plan_size"))
    parser.add_argument("--measure", action="store_true", help="in the fresh process: open, plan, print JSON")
    options = parser.parse_args(argv)
    if options.measure:
        print(json.dumps(measure(options.out)))
        return 0
    if not (options.out / "index.npz").exists() or len(Index.load(options.out, check=False)) != options.clips:
        options.out.mkdir(parents=True, exist_ok=True)
        synthetic(options.clips).save(options.out / "index.npz")
    words = [sys.executable, "-m", "benchmarks.plan_size", "--out", str(options.out), "--measure"]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    for name, value in found.items():
        print(f"{name:32s} {value}")
    ok = found["seconds to the first batch"] < SECONDS and found["peak memory, MiB"] * 2**20 < BYTES
    print(f"{options.clips:,} clips: {'within' if ok else 'OVER'} {SECONDS} s and {BYTES / 2**30:g} GiB")
    return 0 if ok else 1


def synthetic(clips: int) -> Index:
    """An index of so many clips in shards of 1,024."""
    rng = np.random.default_rng(0)
    number = np.arange(clips, dtype=np.int32)
    blocks = [min(BLOCK, clips - start) for start in range(0, clips, BLOCK)]
    seconds = [np.clip(rng.lognormal(np.log(5.75) - 0.75**2 / 2, 0.75, n), 0.3, 32) for n in blocks]
    mixes = np.array([AUDIO | TEXT, AUDIO | TEXT, AUDIO | MOTION | TEXT, MOTION], np.uint8)
    width = len(str(clips))
    digits = [ord("0") + number // 10**place % 10 for place in reversed(range(width))]
    return Index(
        length=np.concatenate([(s * 24_000).astype(np.int32) // 256 + 1 for s in seconds]),
        flags=np.concatenate([rng.choice(mixes, n) for n in blocks]),
        split=np.concatenate([rng.choice(np.repeat([0, 1, 2], [18, 1, 1]).astype(np.uint8), n) for n in blocks]),
        shard=number // 1024, row=number % 1024, speaker=number % 5_000, speakers=[f"speaker{i}" for i in range(5_000)],
        names=np.stack([np.full(clips, ord("c"), np.uint8), *(d.astype(np.uint8) for d in digits)], 1).ravel(),
        name_ends=np.arange(1, clips + 1, dtype=np.int64) * (width + 1),
        content=np.zeros((-(-clips // 1024), 32), np.uint8),
    )  # fmt: skip


def measure(folder: Path) -> dict[str, float]:
    """What `jamflow train` does with an index before its first step."""
    import pickle

    from data_pipelines.plan import Plan

    def lap() -> float:
        nonlocal start
        start, before = time.perf_counter(), start
        return round(start - before, 2)

    def peak() -> int:
        # Linux; ru_maxrss would begin with what the parent had when it started this process.
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024

    start, empty = time.perf_counter(), peak()
    index = Index.load(folder, "stated in dataset.json")
    opened = lap()
    plan = Plan(index, 12, 307_200, 512, multiple=8)
    planned = lap()
    plan.batch(0)
    first = opened + planned + lap()
    held_out = plan.of_split("validation")
    list(held_out.fixed(8))
    validated = lap()
    steps = [int(step) for step in np.random.default_rng(1).integers(0, 10**7, 200)]
    for step in steps:
        plan.batch(step)
    step = round(lap() / len(steps) * 1e3, 2)
    sent = len(pickle.dumps(plan))
    return {
        "clips": len(index), "buckets": len(plan.buckets), "padding": round(plan.padding, 4),
        "open, s": opened, "plan, s": planned, "seconds to the first batch": round(first, 2),
        "plan of the validation split, s": validated, "ms a step, anywhere": step,
        "peak memory, MiB": peak(), "of that before it began, MiB": empty, "bytes sent to a worker": sent,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
