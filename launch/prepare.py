"""Turns videos, speech corpora, motion files or a manifest of them into a data set for training.

    jamflow prepare videos/ --out data/talks --space lips --extractor mediapipe --segment
    jamflow prepare LJSpeech-1.1/ --out data/lj --space lips --speaker LJ
    jamflow prepare clips.jsonl --out data/mine --space liveportrait --space-option mouth_keypoints=lip --tokenizer vocab.txt

Kinds of sources: data_pipelines/prepare/sources.py; the manifest: data_pipelines/prepare/manifest.py. Whatever cannot be used is
named, counted and left out; all of it is in DIR/report.json and on the page DIR/report.html. Killed or stopped, the same command
goes on.
"""
import argparse
import json
import os
import shlex
import sys

from launch.arguments import amount, box, count, positive, positive_count
from launch.exits import Parser, one_line_errors
from launch.render import WEIGHTS_HELP

TOKENIZERS = ("char", "pinyin", "byte")


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    args = _parser().parse_args(argv)
    if args.extractor != "liveportrait":
        os.environ.setdefault("JAX_PLATFORMS", "cpu")  # preparation computes on the host

    from data_pipelines.prepare.build import Checks
    from data_pipelines.prepare.clean import Cleaning
    from data_pipelines.prepare.clip_reader import Reading
    from data_pipelines.prepare.manifest import checked
    from data_pipelines.prepare.report import Report
    from data_pipelines.prepare.run import prepare
    from data_pipelines.prepare.sources import rows
    from jamflow_jax.errors import ConfigError, InputError
    from launch.data_page import write_data_page

    if args.validation + args.test >= 1:
        raise ConfigError(f"--validation {args.validation:g} and --test {args.test:g} leave nothing to train on")
    options = dict(_option(text) for text in args.space_option)
    report, cache = Report(), args.cache or _beside(args.out)
    entries = checked(rows(args.source, args.kind, cache, args.speaker), report)
    extractor = _extractor(args, cache, any(entry.video and not entry.motion for entry in entries))
    try:
        space, tokenizer = _space(args.space, options, entries, extractor), _tokenizer(args.tokenizer)
    except InputError as error:  # of an option, not of an input
        raise ConfigError(str(error)) from None
    reading = Reading(args.max_gap, extractor, _features(args), Cleaning(
        trim=args.trim, loudness=args.loudness, shortest=args.min_seconds, words=args.words_per_second, strict=args.strict_text,
    ))  # fmt: skip
    prepare(
        entries,
        args.out,
        space,
        tokenizer,
        report=report,
        reading=reading,
        segment=args.segment,
        checks=Checks(args.duplicates, args.near_duplicates, args.offset),
        validation=args.validation,
        test=args.test,
        max_seconds=args.max_seconds,
        crop=args.crop,
        keep_audio=args.audio,
        workers=args.workers,
        beam=None if args.beam is None else [f"--{word.lstrip('-')}" for word in shlex.split(args.beam)],
        shard_examples=args.shard_clips,
        overwrite=args.overwrite,
    )
    print(report.summary())
    if not report.accepted:
        report.print_rest()
        raise InputError(f"{args.source}: no usable clip, nothing was written")
    path = shlex.quote(args.out)
    print(f"{args.out}: ready; jamflow train --config configs/base.py --config.data.path={path} --workdir runs/first")
    write_data_page(args.out)
    return report.exit_code


def _beside(out: str) -> str:
    """Where what was extracted is kept by default."""
    from data_pipelines.remote import address, home

    return str(home() / "extracted") if address(out) else f"{out.rstrip('/')}.extracted"


def _extractor(args, cache: str, needed: bool):
    from data_pipelines.prepare import extractors
    from jamflow_jax.errors import ConfigError

    if not needed or args.extractor == "none":
        return None
    if args.extractor is None:
        raise ConfigError("there are videos: name what reads their motion, --extractor mediapipe or liveportrait, or none for "
                          "their sound alone")  # fmt: skip
    here = None
    if args.extractor == "liveportrait":
        from data_pipelines.prepare.liveportrait import LivePortrait
        from launch.compile_cache import use_compile_cache
        from launch.render import weights_folder

        use_compile_cache()
        here = LivePortrait(weights_folder(args.weights), args.box, args.detector, args.batch)
    return extractors.find(args.extractor, cache, args.extractor_env, here, one_face=args.one_face)


def _features(args):
    from data_pipelines.prepare.features import Features

    if args.speech_features is None:
        return None
    return Features(args.speech_features, args.speech_layer, args.speech_python or sys.executable).ready()


def _space(name: str, options: dict, entries: list, extractor):
    """What options leave out comes from the first motion file, or from what the extractor gives."""
    from data_pipelines.prepare.motion_reader import space_of

    motions = [(entry.motion, entry.motion_key) for entry in entries if entry.motion]
    if name == "landmarks" and not motions and extractor is not None:
        options = {"ids": extractor.ids} | options
    return space_of(name, options, motions)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("prepare", __doc__)
    parser.add_argument("source", help="a manifest (.jsonl), a folder or a file")
    parser.add_argument("--out", required=True, metavar="DIR", help="the data set to write")
    parser.add_argument("--kind", help="of the source, where it is not plain: manifest, f5-csv, f5-arrow, ljspeech, "
                        "libritts, tfds, files, videos, motion, templates or sound")  # fmt: skip
    parser.add_argument("--speaker", help="who speaks, where the source does not say")
    parser.add_argument("--extractor", metavar="NAME|COMMAND", help="makes motion of videos: mediapipe, liveportrait, none (sound "
                        "alone), or a command line that speaks the protocol of data_pipelines/prepare/worker.py")  # fmt: skip
    parser.add_argument("--extractor-env", metavar="DIR", help="its Python environment (jamflow data setup); default below "
                        "~/.cache/jamflow")  # fmt: skip
    portrait = parser.add_argument_group("--extractor liveportrait (docs/faces.md)")
    portrait.add_argument("--weights", metavar="DIR", help=WEIGHTS_HELP)
    portrait.add_argument("--box", type=box, metavar="L,T,R,B", help="the face's box in pixels, in all videos")
    portrait.add_argument("--detector", metavar="MODULE:FUNCTION", help="finds faces in a picture; default: the middle of it")
    portrait.add_argument("--batch", type=positive_count, default=32, metavar="N", help="frames at once (default %(default)s)")
    parser.add_argument("--one-face", action="store_true", help="reject videos with several faces; default: follow the largest")
    parser.add_argument("--cache", metavar="DIR", help="keeps what was extracted from videos (default OUT.extracted)")
    parser.add_argument("--space", default="liveportrait", help="motion space of the data set: liveportrait, landmarks, "
                        "grid_landmarks, blendshapes or lips (default %(default)s)")  # fmt: skip
    parser.add_argument("--space-option", action="append", default=[], metavar="KEY=VALUE",
                        help="option of the space, as JSON or a word: mouth_keypoints=[14,17,19,20]; may be repeated")  # fmt: skip
    parser.add_argument("--tokenizer", default="char", metavar="KIND|FILE",
                        help="char or pinyin (vocabulary from the texts), byte, or a vocab.txt in F5-TTS's form, read as pinyin "
                        "tokens unless written char:FILE (default %(default)s)")  # fmt: skip
    parser.add_argument("--validation", type=_share, default=0.05, help="share held out for validation (default %(default)s)")
    parser.add_argument("--test", type=_share, default=0.05, help="share held out for tests (default %(default)s)")
    parser.add_argument("--max-seconds", type=positive, default=30.0, metavar="S", help="longer clips are rejected (default 30)")
    parser.add_argument("--crop", action="store_true", help="crop longer clips there instead (their text is dropped)")
    parser.add_argument("--segment", action="store_true", help="cut longer recordings on pauses instead")
    parser.add_argument("--min-seconds", type=amount, default=0.0, metavar="S", help="shorter clips are rejected (default 0)")
    parser.add_argument("--trim", type=positive, metavar="DB", help="cut silence at the ends: DB under the speech (usual: 35)")
    parser.add_argument("--loudness", type=_level, metavar="DB", help="bring speech to this level (F5-TTS: -20)")
    parser.add_argument("--words-per-second", type=_span, metavar="LOW,HIGH", help="reject clips spoken slower or faster")
    parser.add_argument("--strict-text", action="store_true", help="reject clips with characters outside the vocabulary")
    parser.add_argument("--duplicates", choices=("off", "note", "reject"), default="off", help="of clips with the same sound")
    parser.add_argument("--near-duplicates", choices=("off", "note", "reject"), default="off", help="of clips that are one "
                        "recording in another codec, loudness or cut")  # fmt: skip
    parser.add_argument("--offset", choices=("off", "note", "reject"), default="off", help="of clips whose mouth is ahead of "
                        "the sound or behind")  # fmt: skip
    parser.add_argument("--speech-features", metavar="DIR", help="of this wav2vec2 or HuBERT model (a folder), in their own column")
    parser.add_argument("--speech-layer", type=int, default=-1, metavar="N", help="hidden state to take (default: the last)")
    parser.add_argument("--speech-python", metavar="FILE", help="a Python with torch and transformers (default: this one)")
    parser.add_argument("--max-gap", type=count, default=5, metavar="FRAMES",
                        help="missing motion frames in a row that are interpolated (default %(default)s)")  # fmt: skip
    parser.add_argument("--no-audio", dest="audio", action="store_false", help="do not keep the sound itself, only its mel")
    parser.add_argument("--workers", type=count, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--beam", metavar="OPTIONS", help="write the shards on a Beam runner: runner=DirectRunner")
    parser.add_argument("--shard-clips", type=positive_count, metavar="N", help="clips per shard (default: 64 to 1024)")
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


def _level(text: str) -> float:
    value = float(text)
    if not -60 <= value < 0:
        raise argparse.ArgumentTypeError("decibels of full scale, from -60 to under 0, are needed")
    return value


def _span(text: str) -> tuple[float, float]:
    low, comma, high = text.partition(",")
    if not comma or not 0 <= float(low) < float(high):
        raise argparse.ArgumentTypeError("two numbers LOW,HIGH are needed")
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
