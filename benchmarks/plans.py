"""Plans of every size of model on machines up to 1,024 chips: the table of docs/scale.md.

    python -m benchmarks.plans [--only base --only v5e] [--tries N] [--out runs/plans]

One process a plan, one after the other: each TPU plan compiles the real train step. A plan whose JSON is in --out already is not
made again, so that the command can be stopped and started.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

PLANS = (
    ("base", "v5e:4x4", 1), ("base", "v5p:4x4x4", 1), ("base", "v6e:16x16", 1), ("base", "h200x8", 1), ("base", "h100x64", 1),
    ("3b", "v5e:8x8", 1), ("3b", "v5p:4x4x4", 1), ("3b", "v6e:16x16", 2), ("3b", "h200x8", 1), ("3b", "h100x64", 1),
    ("10b", "v5e:16x16", 1), ("10b", "v5p:4x8x8", 1), ("10b", "v6e:16x16", 4), ("10b", "v5p:8x8x16", 1), ("10b", "h100x512", 1),
)  # fmt: skip
GIB = 2**30


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="plans whose name has this; several must all be in it")
    parser.add_argument("--tries", help="of jamflow plan; 1: each config as it is (default: the search)")
    parser.add_argument("--out", default="runs/plans")
    options = parser.parse_args(argv)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for config, topology, slices in PLANS:
        name = f"{config} {topology} {slices}"
        if not all(part in name for part in options.only):
            continue
        file = out / f"{name.replace(' ', '_').replace(':', '_')}.json"
        if not file.exists():
            words = [sys.executable, "-m", "launch.plan", "--config", config, "--topology", topology, "--slices", str(slices),
                     *(["--tries", options.tries] if options.tries else []), "--json", str(file)]  # fmt: skip
            done = subprocess.run(words, capture_output=True, text=True)
            if not file.exists():
                print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                continue
        rows.append(json.loads(file.read_text()))
    print("| config | machine | mesh (data, fsdp) | clips a step | remat | GiB a device | fits | step, s | MFU | compiled in |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        slices = f" x {row['slices']}" if row["slices"] > 1 else ""
        took = "by formula" if row["by_formula"] else f"{row['compile_seconds']:.0f} s"
        mesh = f"{row['mesh']['data']}, {row['mesh']['fsdp']}"
        parts = f" in {row['accumulate']} parts" if row["accumulate"] > 1 else ""
        print(f"| {row['config']} | {row['topology']}{slices} | {mesh} | {row['examples']:,}{parts} | {row['remat']} | "
              f"{row['bytes']['total'] / GIB:.1f} | {'yes' if row['fits'] else 'no'} | "
              f"{row['seconds']['fastest']:.2f} to {row['seconds']['slowest']:.2f} | "
              f"{row['mfu']['slowest']:.0%} to {row['mfu']['fastest']:.0%} | {took} |")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
