"""Looks at a prepared data set, checks it for damage, or sets up what preparing needs.

    jamflow data inspect data/mine                what is in it, in words; and a page with pictures, data/mine/report.html
    jamflow data verify data/mine data/other      every file against its checksum, every record decoded: finds bit rot
    jamflow data setup mediapipe                  makes the environment of a motion extractor

Exit codes of verify: 0 whole, 3 some clips damaged, 1 unusable.
"""
import os
import shlex
import sys
from pathlib import Path

from launch.exits import CLEAN, SOME_REJECTED, Parser, one_line_errors


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    return {"inspect": _inspect, "verify": _verify, "setup": _setup}[args.what](args)


def _parser() -> Parser:
    parser = Parser("data", __doc__)
    parser.add_argument("what", choices=("inspect", "verify", "setup"))
    parser.add_argument("names", nargs="+", metavar="DIR", help="data sets; for setup the name of an extractor")
    parser.add_argument("--out", metavar="FILE", help="inspect: the page (default DIR/report.html)")
    parser.add_argument("--fast", action="store_true", help="verify: checksums alone, without decoding the records")
    parser.add_argument("--venv", metavar="DIR", help="setup: where to make it (default below ~/.cache/jamflow)")
    parser.add_argument("--python", default=sys.executable, metavar="FILE", help="setup: which Python; MediaPipe 0.10.21 has "
                        "wheels for 3.9 to 3.12 (default: this one)")  # fmt: skip
    return parser


def _inspect(args) -> int:
    from data_pipelines.dataset import DataSet
    from jamflow_jax.errors import ConfigError
    from launch.data_page import facts, write_data_page

    if args.out and len(args.names) > 1:
        raise ConfigError("--out is for one data set")
    for name in args.names:
        print(f"{name}:")
        for key, value in facts(DataSet(name)).items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {_short(v)}" for k, v in value.items()) or "none"
            print(f"  {key:12s} {_short(value)}")
        print(f"  page         {write_data_page(name, args.out)}")
    return CLEAN


def _short(value) -> str:
    if isinstance(value, dict):
        return " / ".join(f"{v:g} {k}" for k, v in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _verify(args) -> int:
    from data_pipelines.prepare.verify import verify

    damaged = 0
    for name in args.names:
        result = verify(name, decode=not args.fast)
        for line in result.damage:
            print(f"damaged {line}", file=sys.stderr)
        damaged += len(result.damage)
        state = "whole" if not result.damage else f"{len(result.damage)} faults, {result.clips} of {result.of} clips can be used"
        print(f"{name}: {result.files} files, {result.bytes / 2**20:.1f} MB, {result.of} clips: {state}")
    if damaged:
        print("prepare it again, or copy the named files from where they are whole; training leaves damaged clips out")
    return SOME_REJECTED if damaged else CLEAN


def _setup(args) -> int:
    from data_pipelines.prepare.extractors import environment, find, set_up

    for name in args.names:
        venv = Path(args.venv) if args.venv else environment(name)
        set_up(name, venv, args.python)
        option = f" --extractor-env {shlex.quote(str(venv))}" if args.venv else ""
        print(f"{venv}: {find(name, '', venv).version}; jamflow prepare ... --extractor {name}{option}")
    return CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
