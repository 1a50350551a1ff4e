"""Kills a training run with SIGKILL at random moments and compares its loss curve with an undisturbed run's, bit for bit.

    python -m benchmarks.kills [--kills 10] [--seed 0] [--out runs/kills]

Both runs are `jamflow train` on the embedded data set, from the command line, as a user starts them. The killed one is started
again each time with the same command. A kill comes up to a second after a random step has been logged (the first: anywhere in the
first ten seconds), so kills fall into start-up, steps, evaluation and checkpoint writes, however fast the machine is. Ends with
exit code 0 only if metrics.jsonl of both runs is the same file, and writes what happened to OUT/kills.json.
"""
import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

STEPS = 120
OVERRIDES = (
    f"steps={STEPS}", "log_every=1", "optim.warmup=10", "checkpoint.every=5", "evaluation.every=20", "evaluation.batches=1",
    "data.buckets=(240,390)", "data.batch_frames=1560", "data.max_batch=4", "model.joint_layers=(0,)",
    *(f"model.{stream}.{size}" for stream in ("audio", "motion") for size in ("width=64", "depth=2", "heads=2", "head_dim=32")),
    "model.audio.text_width=32", "model.audio.text_layers=1", "optim.accumulate=2",
)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=Path("runs/kills"))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    data = options.out / "data"
    if not (data / "dataset.json").exists():
        from data_pipelines.prepare.synthetic import prepare_synthetic

        prepare_synthetic(str(data), minutes=4, seed=0, workers=2)

    start = time.perf_counter()
    log = finish(options.out / "undisturbed", data)
    whole = time.perf_counter() - start
    print(f"undisturbed: {STEPS} steps in {whole:.0f} s")

    chance, events = random.Random(options.seed), []
    workdir = options.out / "killed"
    for after in sorted([0, *chance.sample(range(1, STEPS - 10), options.kills - 1)]):
        event = kill(after, chance.uniform(0, 1 if after else 10), workdir, data)
        events.append(event)
        print(f"kill {len(events):2d} at {event['seconds']:5.1f} s, {event['steps_logged']:3d} steps logged; {event['said']}")
    finish(workdir, data)
    digests = [hashlib.sha256((run / "metrics.jsonl").read_bytes()).hexdigest() for run in (options.out / "undisturbed", workdir)]
    same = digests[0] == digests[1]
    report = {"steps": STEPS, "kills": events, "sha256": digests, "same": same, "undisturbed_seconds": round(whole, 1)}
    (options.out / "kills.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"metrics.jsonl {digests[0][:16]} and {digests[1][:16]}: {'the same' if same else 'DIFFERENT'} after {len(events)} kills")
    return 0 if same and log else 1


def command(workdir: Path, data: Path) -> list[str]:
    """`jamflow train` with a model small enough to be killed often."""
    overrides = [f"--config.{override}" for override in (*OVERRIDES, f"data.path={data}")]
    return [sys.executable, "-u", "-m", "launch.train", "--config", "configs/quickstart.py", "--workdir", str(workdir), *overrides]


def finish(workdir: Path, data: Path) -> str:
    """Runs to the end."""
    done = subprocess.run(command(workdir, data), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"training failed with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def kill(after: int, delay: float, workdir: Path, data: Path) -> dict:
    """Starts the run and kills it, with whatever it started, `delay` seconds after `after` steps have been logged."""
    log_path, start = workdir.with_suffix(".log"), time.perf_counter()
    with open(log_path, "w") as log:
        process = subprocess.Popen(command(workdir, data), stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        while logged(workdir) < after and process.poll() is None:
            time.sleep(0.02)
        time.sleep(delay)
        if process.poll() is not None:
            raise SystemExit(f"the run ended by itself, with {process.returncode}: {log_path.read_text()[-2000:]}")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said = [line for line in log_path.read_text().splitlines() if "resuming" in line or "checkpoint" in line]
    seconds = round(time.perf_counter() - start, 2)
    return {"seconds": seconds, "steps_logged": logged(workdir), "said": said[0].strip() if said else "from the start"}


def logged(workdir: Path) -> int:
    """The newest training step in metrics.jsonl."""
    metrics = workdir / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return max((json.loads(line)["step"] for line in lines if '"train"' in line and line.endswith("}")), default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
