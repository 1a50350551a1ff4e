"""Five corpora of different kinds become one in the `lips` space, and a small model trains on them.

    python -m benchmarks.mixed_lips --data PATH/TO/data [--steps 200] [--extractor-env DIR] [--out runs/mixed]

DATA holds grid_s1/ (raw videos, and arrays of the same speaker), facegood_mandarin/ (blendshapes at 30 fps), speech_text/ (speech
alone) and liveportrait_pkl/ (motion templates alone). Every set is prepared and verified, the landmarks that the extractor finds in
the videos are compared with GRID's own arrays, and `jamflow train` runs on all five (--steps 0: does not). Exit code 0 only if all
of it went through and every loss is finite. Writes OUT/mixed.json. `python -m benchmarks.processes --data` takes the same sets.
"""
import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from data_pipelines.dataset import DataSet

OVERRIDES = (
    "log_every=10", "optim.warmup=20", "optim.lr=1e-3", "checkpoint.every=100", "evaluation.every=100", "evaluation.batches=2",
    "data.buckets=(300,960,1200)", "data.batch_frames=2400", "data.max_batch=8", "data.crop=True", "model.joint_layers=(0,1)",
    *(f"model.{stream}.{size}" for stream in ("audio", "motion") for size in ("width=64", "depth=2", "heads=2", "head_dim=32")),
    "model.audio.text_width=32", "model.audio.text_layers=1",
)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--extractor-env", help="environment of mediapipe (default: where jamflow data setup puts it)")
    parser.add_argument("--out", type=Path, default=Path("runs/mixed"))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    data, venv = options.data, ["--extractor-env", options.extractor_env] if options.extractor_env else []
    sources = {
        "grid-videos": [data / "grid_s1/video", "--speaker", "grid_s1", "--extractor", "mediapipe", *venv, "--loudness", "-20"],
        "grid": [manifest("grid", data / "grid_s1", options.out), "--loudness", "-20"],
        "facegood": [data / "facegood_mandarin", "--speaker", "facegood", "--segment", "--max-seconds", "10", "--loudness", "-20"],
        "speech": [manifest("speech", data / "speech_text", options.out), "--max-seconds", "12"],
        "templates": [data / "liveportrait_pkl"],
    }
    facts = {}
    for name, source in sources.items():
        start, out = time.perf_counter(), options.out / name
        run("prepare", *source, "--out", out, "--space", "lips", "--overwrite")
        seconds = time.perf_counter() - start
        run("data", "verify", out)
        meta = DataSet(out).meta
        facts[name] = {"clips": meta["clips"], "minutes": round(meta["seconds"] / 60, 2), **meta["with"]}
        facts[name] |= {"prepared_in_s": round(seconds, 1)}
        print(f"{name}: {facts[name]}", flush=True)
    agreement = compare(options.out / "grid-videos", options.out / "grid")
    print(f"videos through the extractor against GRID's arrays: {agreement}")
    if not options.steps:
        return 0
    workdir = options.out / "model"
    start = time.perf_counter()
    paths = ",".join(str(options.out / name) for name in sources)
    run("train", "--config", "configs/base.py", "--workdir", workdir, f"--config.data.path={paths}",
        f"--config.steps={options.steps}", *(f"--config.{override}" for override in OVERRIDES))  # fmt: skip
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    fine = lines[-1]["step"] == options.steps and all(map(math.isfinite, losses))
    report = {"sets": facts, "agreement": agreement, "steps": lines[-1]["step"], "first_loss": losses[0], "last_loss": losses[-1],
              "trained_in_s": round(time.perf_counter() - start, 1)}  # fmt: skip
    (options.out / "mixed.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"{report['steps']} steps in {report['trained_in_s']} s, loss {losses[0]:.3f} to {losses[-1]:.3f}")
    return 0 if fine else 1


def compare(videos: Path, arrays: Path) -> dict:
    """Mouth opening of the same clips from both ways in."""
    made, given = DataSet(videos), DataSet(arrays)
    place = {name: i for i, name in enumerate(given.index.ids())}
    pairs = [(made.record(i).motion, given.record(place[name]).motion) for i, name in enumerate(made.index.ids()) if name in place]
    worst = max(float(np.abs(a[: len(b)] - b[: len(a)]).max()) for a, b in pairs)
    r = min(float(np.corrcoef(a[: len(b), 0], b[: len(a), 0])[0, 1]) for a, b in pairs)
    return {"clips": len(pairs), "largest_difference": round(worst, 6), "smallest_r_of_opening": round(r, 6)}


def manifest(name: str, folder: Path, out: Path) -> Path:
    path = out / f"{name}.jsonl"
    path.write_text(subprocess.run([sys.executable, f"scripts/manifest_{name}.py", str(folder)], check=True, capture_output=True,
                                   text=True).stdout)  # fmt: skip
    return path


def run(verb: str, *words) -> None:
    done = subprocess.run([sys.executable, "-m", f"launch.{verb}", *map(str, words)])
    if done.returncode not in (0, 3):
        sys.exit(f"jamflow {verb} ended with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
