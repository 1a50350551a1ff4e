"""Turns a manifest of sound, text and motion files into a data set for training.

    jamflow prepare clips.jsonl --out data/mine --space landmarks
    jamflow prepare clips.jsonl --out data/mine --space liveportrait --space-option mouth_keypoints=lip --tokenizer vocab.txt

The manifest is described in data_pipelines/prepare/manifest.py; scripts/manifest_*.py make some. Whatever cannot be
used is named, counted and left out; all of it is in DIR/report.json.
"""
import argparse
import json
import os
import shlex
import sys

from launch.exits import Parser, one_line_errors

TOKENIZERS = ("char", "pinyin", "byte")


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # preparation computes on the host

    from data_pipelines.prepare.manifest import read_manifest
    from data_pipelines.prepare.motion_reader import space_of
    from data_pipelines.prepare.report import Report
    from data_pipelines.prepare.sources import prepare
    from jamflow_jax.errors import ConfigError, InputError

    if args.validation + args.test >= 1:
        raise ConfigError(f"--validation {args.validation:g} and --test {args.test:g} leave nothing to train on")
    options = dict(_option(text) for text in args.space_option)
    entries = read_manifest(args.manifest, Report(quiet=True))
    motions = ((entry.motion, entry.motion_key) for entry in entries if entry.motion)
    try:
        space, tokenizer = space_of(args.space, options, motions), _tokenizer(args.tokenizer)
    except InputError as error:  # of an option, not of an input
        raise ConfigError(str(error)) from None
    report = prepare(
        args.manifest,
        args.out,
        space,
        tokenizer,
        validation=args.validation,
        test=args.test,
        max_seconds=args.max_seconds,
        crop=args.crop,
        keep_audio=args.audio,
        max_gap=args.max_gap,
        workers=args.workers,
        shard_examples=args.shard_clips,
        overwrite=args.overwrite,
    )
    print(report.summary())
    if not report.accepted:
        raise InputError(f"{args.manifest}: no usable clip, nothing was written")
    path = shlex.quote(args.out)
    print(f"{args.out}: ready; jamflow train --config configs/base.py --config.data.path={path} --workdir runs/first")
    return report.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = Parser("prepare", __doc__)
    parser.add_argument("manifest", help="JSON lines: id, audio, text, motion, motion_key, fps, speaker, split, ...")
    parser.add_argument("--out", required=True, metavar="DIR", help="the data set to write")
    parser.add_argument("--space", default="liveportrait", help="motion space of the data set: liveportrait, landmarks, "
                        "grid_landmarks, blendshapes or lips (default %(default)s)")  # fmt: skip
    parser.add_argument("--space-option", action="append", default=[], metavar="KEY=VALUE",
                        help="option of the space, as JSON or a word: mouth_keypoints=[14,17,19,20]; may be repeated")  # fmt: skip
    parser.add_argument("--tokenizer", default="char", metavar="KIND|FILE",
                        help="char or pinyin (vocabulary from the texts), byte, or a vocab.txt in F5-TTS's form, read as pinyin "
                        "tokens unless written char:FILE (default %(default)s)")  # fmt: skip
    parser.add_argument("--validation", type=_share, default=0.05, help="share held out for validation (default %(default)s)")
    parser.add_argument("--test", type=_share, default=0.05, help="share held out for tests (default %(default)s)")
    parser.add_argument("--max-seconds", type=_positive, default=30.0, metavar="S", help="longer clips are rejected (default 30)")
    parser.add_argument("--crop", action="store_true", help="crop longer clips there instead (their text is dropped)")
    parser.add_argument("--max-gap", type=_count, default=5, metavar="FRAMES",
                        help="missing motion frames in a row that are interpolated (default %(default)s)")  # fmt: skip
    parser.add_argument("--no-audio", dest="audio", action="store_false", help="do not keep the sound itself, only its mel")
    parser.add_argument("--workers", type=_count, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--shard-clips", type=_positive_count, metavar="N", help="clips per shard (default: 64 to 1024)")
    parser.add_argument("--overwrite", action="store_true", help="replace the data set that is in DIR")
    return parser


def _option(text: str) -> tuple[str, object]:
    from jamflow_jax.errors import ConfigError

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--space-option {text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _tokenizer(text: str):
    from jamflow_jax.text.tokenizer import Tokenizer

    if text in TOKENIZERS:
        return text
    kind, colon, path = text.partition(":")
    return Tokenizer.from_file(path, kind) if colon and kind in TOKENIZERS else Tokenizer.from_file(text)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("a share from 0 to 1 is needed")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("a number above 0 is needed")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("a count from 0 on is needed")
    return value


def _positive_count(text: str) -> int:
    value = _count(text)
    if not value:
        raise argparse.ArgumentTypeError("a count above 0 is needed")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
