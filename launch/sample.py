"""Generates speech, motion or both: all tasks of the paper, from one trained run.

    jamflow sample --model RUN --out DIR --audio speech.wav                                      speech -> motion
    jamflow sample --model RUN --out DIR --text "Hello." --want speech                           text -> speech
    jamflow sample --model RUN --out DIR --text "Hello."                                         text -> speech + motion
    jamflow sample --model RUN --out DIR --text "Hello." --ref-audio me.wav --ref-text "I say."  in a reference's voice
    jamflow sample --model RUN --out DIR --text "Hello." --motion face.pkl                       text + motion -> speech (dubbing)
    jamflow sample --model RUN --out DIR --motion face.pkl                                       motion -> speech
    jamflow sample --model RUN --out DIR --audio a.wav --motion a.npz --text "..." --edit 0.8:1.4   edits a span of both
    jamflow sample --model RUN --out DIR --requests many.jsonl                                   one request a line, same names
    jamflow sample --model RUN --out DIR --text "Hello." --face photo.jpg                        and the photo says it

Each request leaves NAME.wav, .npz, .mp4 and .png, in LivePortrait space also NAME.pkl with NAME_template.wav, and with --face
NAME_face.mp4.
"""
import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from launch.arguments import box
from launch.ask import TASKS, Ask, Question, read
from launch.exits import CLEAN, NOTHING_USABLE, SOME_REJECTED, Parser, one_line_errors
from launch.outputs.clip import Clip
from launch.outputs.files import KINDS, write_clip
from launch.outputs.sound import Vocoder, choose
from launch.outputs.staging import check_writable

CHUNK = 32  # requests read and generated together; results are written after each


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(argv)
    base = Ask(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Ask)})
    config = sample_config(options)
    from launch.pieces import window_frames

    window = window_frames(options.window)
    lines = [(base.name, base)] if options.requests is None else read_requests(options.requests, base)

    from jamflow_jax.errors import ConfigError, InputError
    from jamflow_jax.train.bundle import load_model
    from launch.compile_cache import use_compile_cache

    check_writable(options.out)
    if options.face is None and (options.face_box or options.face_weights):
        raise ConfigError(f"--face-{'box' if options.face_box else 'weights'}: needs --face, a picture or video")
    use_compile_cache()
    talk, faceless = talking_face(options)
    model = load_model(options.model, ema=not options.raw, step=options.step)
    vocoder = choose(options.vocoder, options.model)
    moves = f"motion space {model.space.name}" if "motion" in model.params else "speech only"
    print(f"model: {options.model}, step {model.step:,}, {moves}; sound by {vocoder[0]}", flush=True)
    for origin in model.origins:
        print(f"  {origin}", flush=True)
    if talk is not None and ("motion" not in model.params or model.space.name != "liveportrait"):
        raise InputError(f"--face {options.face}: needs a model of motion space liveportrait; {options.model} is of {moves}")
    kinds = tuple(kind for kind in KINDS if kind in options.files)
    done = rejected = 0
    for first in range(0, len(lines), CHUNK):
        questions = []
        for name, ask in lines[first : first + CHUNK]:
            try:
                if isinstance(ask, Exception):
                    raise ask
                questions.append(read(ask, model))
            except (ValueError, OSError) as error:  # InputError is a ValueError
                if options.requests is None:
                    raise
                print(f"rejected {name}: {' '.join(str(error).split())}", file=sys.stderr)
                rejected += 1
        for clip in answer(model, questions, config, vocoder, window):
            paths = write_clip(clip, options.out, kinds, not options.no_mark, talk)
            if talk is not None and clip.motion_MD is None:
                print(f"note: {clip.name}: no talking face, for no motion was wanted", file=sys.stderr)
            endings = ",".join(path.name.removeprefix(clip.name) for path in paths)
            print(f"  {Path(options.out) / clip.name}{{{endings}}}", flush=True)
            done += 1
    return NOTHING_USABLE if not done else SOME_REJECTED if rejected or faceless else CLEAN


def talking_face(options: argparse.Namespace):
    """(what draws NAME_face.mp4's frames of a Clip, or None; True if it was asked for and LivePortrait's weights are not there)."""
    if options.face is None:
        return None, False
    from jamflow_jax.errors import InputError
    from jamflow_jax.torch_io import liveportrait
    from launch.outputs.portrait import Talker, read_source
    from launch.render import load_networks, weights_folder

    source = read_source(options.face, options.face_box)
    try:
        liveportrait.find(weights_folder(options.face_weights))
    except InputError as error:
        print(f"note: no talking face, only the drawn preview: {error}", file=sys.stderr)
        return None, True
    for note in source.notes:
        print(f"note: {options.face}: {note}", file=sys.stderr)
    return Talker(load_networks(options.face_weights), source), False


def answer(
    model, questions: list[Question], config, vocoder: tuple[str, Vocoder], window: int | None = None
) -> Iterator[Clip]:
    """Generates questions (`ask.read`) with a SampleConfig and puts each result together as a Clip; `vocoder` is from `choose`.

    What is longer than `window` mel frames is made in pieces, one after the other.
    """
    from jamflow_jax.flow.generate import generate
    from launch import pieces

    for question in questions:
        for note in question.notes:
            print(f"note: {question.ask.name}: {note}", file=sys.stderr)
    if not questions:
        return
    start = time.perf_counter()
    cuts = [None if window is None else pieces.cut(question, model.tokenizer, window) for question in questions]
    short = [question.request for question, cut in zip(questions, cuts) if cut is None]
    together = iter(generate(model.config.model, model.params, short, config) if short else [])
    results = []
    for question, cut in zip(questions, cuts):
        if cut is not None:
            print(f"note: {question.ask.name}: longer than --window, made in {len(cut.ends)} pieces", file=sys.stderr)
        results.append(next(together) if cut is None else pieces.whole(model, question, cut, config))
    seconds = time.perf_counter() - start
    length = sum(question.request.length for question in questions) * 256 / 24_000
    print(f"{len(questions)} request{'s' * (len(questions) > 1)}, {length:.1f} s, generated in {seconds:.1f} s", flush=True)
    for question, result in zip(questions, results):
        yield finish(model, question, result, config, vocoder)


def finish(model, question: Question, result, config, vocoder: tuple[str, Vocoder]) -> Clip:
    """A Clip from a result: reference cut off, raw motion units, sound."""
    from jamflow_jax.config import to_dict
    from jamflow_jax.timeline import CROP_MEL, CROP_MOTION

    request, space = question.request, model.space
    mel_TF = None
    if result.mel is not None:
        mel_TF = result.mel
    elif question.mel_given_T.all():
        mel_TF = question.mel_TF[: question.length]
    audio_N = None if mel_TF is None else sound(mel_TF, question, vocoder[1] if result.mel is not None else None)
    mel_TF = None if mel_TF is None else mel_TF[-question.length :]
    motion_MD = None
    if result.mouth is not None or question.motion_given_M.all():
        base = model.statistics.mean
        if result.mouth is None:
            motion_MD = question.motion_MD.copy()
        else:
            mouth = model.statistics.mouth(space).denormalise(result.mouth)[question.prefix * CROP_MOTION // CROP_MEL :]
            motion_MD = space.merge(mouth, question.rest_MR, base).astype(np.float32)
            if question.motion_given_M.any():  # as it was handed in, dead dimensions too
                given = np.ix_(np.flatnonzero(question.motion_given_M), space.mouth)
                motion_MD[given] = question.motion_MD[given]
    facts = {
        "request": {name: value for name, value in dataclasses.asdict(question.ask).items() if value not in (None, False)},
        "step": model.step, "seed": request.seed, "sample": to_dict(config), "reference_mel_frames": question.prefix,
        "vocoder": vocoder[0].split(" (")[0] if result.mel is not None else None,
        "origins": [dataclasses.asdict(origin) for origin in model.origins],
    }  # fmt: skip
    ask = question.ask
    return Clip(
        ask.name, ask.text or ask.task or ask.name, audio_N, mel_TF, question.mel_given_T, motion_MD,
        question.motion_given_M, space, truth(question, motion_MD), facts,
    )  # fmt: skip


def truth(question: Question, motion_MD: np.ndarray | None) -> np.ndarray | None:
    """What the pictures show in grey: `--truth`, or what was there before a given motion was edited."""
    if motion_MD is None or question.motion_given_M.all():
        return None
    if question.truth_MD is not None:
        return question.truth_MD[: len(motion_MD)]
    return question.motion_MD


def sound(mel_TF: np.ndarray, question: Question, vocoder: Vocoder | None) -> np.ndarray:
    """The waveform: given sound as it is, the rest by the vocoder; where they meet, cross-faded over 10 ms."""
    from jamflow_jax.timeline import HOP

    if vocoder is None:
        return question.audio_N
    made = vocoder(mel_TF, question.request.seed)[question.prefix * HOP :]
    if not question.mel_given_T.any():
        return made
    given = np.repeat(question.mel_given_T.astype(np.float32), HOP)[: len(made)]
    given = np.pad(given, (0, len(made) - len(given)))
    weight = np.convolve(np.pad(given, 120, mode="edge"), np.ones(241) / 241, "valid")
    old = np.pad(question.audio_N, (0, max(0, len(made) - len(question.audio_N))))[: len(made)]
    return (weight * old + (1 - weight) * made).astype(np.float32)


def read_requests(path: str, base: Ask) -> list[tuple[str, Ask | Exception]]:
    """(name, request or what is wrong with it) of every line of a JSON-lines file.

    Raises:
      InputError: the file cannot be read or holds no request.
    """
    from jamflow_jax.errors import InputError

    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot read the requests: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the requests are not UTF-8 text (byte {error.start})") from None
    found, names = [], set()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        place = f"{Path(path).name} line {number}"
        try:
            default = dataclasses.replace(base, name=f"{Path(path).stem}-{number:04d}")
            ask = Ask.from_json(default, json.loads(line), Path(path).parent)
            if ask.name in names:
                raise InputError(f"{place}: the name {ask.name!r} is taken by an earlier line")
            names.add(ask.name)
            found.append((ask.name, ask))
        except (ValueError, RecursionError) as error:
            found.append((place, error if isinstance(error, InputError) else InputError(f"not JSON: {error}")))
    if not found:
        raise InputError(f"{path}: no request in it; one JSON object a line, such as {{\"text\": \"Hello.\"}}")
    return found


def sample_config(options: argparse.Namespace):
    """The SampleConfig of the command line. Raises ConfigError."""
    from jamflow_jax.errors import ConfigError, InputError
    from jamflow_jax.flow.generate import SampleConfig

    try:
        return SampleConfig(
            steps=options.steps, method=options.method, grid=options.grid, sway=options.sway,
            guidance=guidance(options.guidance), max_batch=options.batch, bucket=options.bucket,
        )  # fmt: skip
    except ConfigError:
        raise
    except InputError as error:
        raise ConfigError(str(error)) from None


def guidance(text: str):
    """"2" or "text=2,audio=1.5": what is not named keeps 2. Raises ConfigError."""
    from jamflow_jax.errors import ConfigError
    from jamflow_jax.flow.guidance import CONDITIONS, Scales

    values = {}
    for part in text.split(","):
        name, equals, number = part.partition("=")
        try:
            value = float(number if equals else name)
        except ValueError:
            value = float("nan")
        if not abs(value) < 100 or (equals and name.strip() not in CONDITIONS) or (not equals and "," in text):
            raise ConfigError(f"--guidance {text!r}: one number, or {'=..,'.join(CONDITIONS)}=..")
        values |= {name.strip(): value} if equals else dict.fromkeys(CONDITIONS, value)
    return Scales(**values)


def add_solver_options(parser: argparse.ArgumentParser) -> None:
    """Options that `evaluate` has too."""
    parser.add_argument("--steps", type=int, default=32, help="steps of the solver (default %(default)s)")
    parser.add_argument("--method", choices=("euler", "midpoint", "heun"), default="euler")
    parser.add_argument("--grid", choices=("uniform", "sway", "epss"), default="sway", help="times of the steps")
    parser.add_argument("--sway", type=float, default=-1.0, help="coefficient of the sway and epss grids (default %(default)s)")
    parser.add_argument("--guidance", default="2", metavar="G", help="one scale, or text=2,audio=2,motion=2,rest=2 (default 2)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="requests at once on each device (default %(default)s)")
    parser.add_argument("--bucket", type=int, default=120, metavar="N",
                        help="lengths are padded to multiples of N mel frames, a program each (default %(default)s)")  # fmt: skip
    parser.add_argument("--raw", action="store_true", help="the trained parameters instead of their average (EMA)")
    parser.add_argument("--step", type=int, metavar="N", help="this checkpoint instead of the newest")


def _files(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(","))
    if bad := [part for part in chosen if part not in KINDS]:
        raise argparse.ArgumentTypeError(f"{bad[0]!r} is none of {', '.join(KINDS)}")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = Parser("sample", __doc__)
    parser.add_argument("--model", required=True, metavar="RUN", help="the --workdir of a training run")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the files go; older ones of the same name are replaced")
    parser.add_argument("--requests", metavar="FILE", help="JSON lines; fields are the options below with _ for -; "
                        "paths relative to the file, the options given here are defaults")  # fmt: skip
    parser.add_argument("--vocoder", metavar="FILE", help="a Vocos (.safetensors, .bin), or griffin-lim; default: the model's own")
    parser.add_argument("--files", type=_files, default=KINDS, metavar="KIND,..", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--no-mark", action="store_true", help="do not say in the files' metadata that they were generated")
    ask = parser.add_argument_group("the request")
    ask.add_argument("--name", default="sample", help="of the files (default %(default)s)")
    ask.add_argument("--task", choices=tuple(TASKS), help="checks the request and chooses what is wanted; not needed otherwise")
    ask.add_argument("--text", help="what is said")
    ask.add_argument("--ref-audio", metavar="FILE", help="a voice to go on in")
    ask.add_argument("--ref-text", metavar="TEXT", help="what the reference says")
    ask.add_argument("--ref-motion", metavar="FILE", help="the reference's motion")
    ask.add_argument("--audio", metavar="FILE", help="given speech: any sound file, or the sound of a video")
    ask.add_argument("--motion", metavar="FILE", help="given motion: .npz, .npy, .csv or LivePortrait .pkl")
    ask.add_argument("--rest", metavar="FILE", help="motion whose other dimensions (not the mouth) condition; default: --motion's")
    ask.add_argument("--truth", metavar="FILE", help="the true motion, where it is known: drawn in grey, not used otherwise")
    ask.add_argument("--no-rest", action="store_true", help="do without them")
    ask.add_argument("--duration", type=float, metavar="S", help="seconds of the result")
    ask.add_argument("--speed", type=float, default=1.0, help="2 speaks twice as fast (default 1)")
    ask.add_argument("--rate", type=float, metavar="R", help="letters a second where there is no reference (default 15)")
    ask.add_argument("--give-audio", metavar="SPANS", help="only these seconds of --audio are given: 0:1.2,3:4")
    ask.add_argument("--give-motion", metavar="SPANS", help="only these seconds of --motion are given")
    ask.add_argument("--edit", metavar="SPANS", help="these seconds of what is given are made anew, in both streams")
    ask.add_argument("--edit-audio", metavar="SPANS", help="the same, in the speech only")
    ask.add_argument("--edit-motion", metavar="SPANS", help="the same, in the motion only")
    ask.add_argument("--want", metavar="STREAMS", help="speech, motion or speech,motion; default: what is not given")
    ask.add_argument("--seed", type=int, default=0, help="of the noise (default %(default)s)")
    parser.add_argument("--window", type=float, default=30.0, metavar="S", help="longer results are made in overlapping windows "
                        "of about so many seconds (default %(default)g)")  # fmt: skip
    face = parser.add_argument_group("a talking face (docs/faces.md)")
    face.add_argument("--face", metavar="FILE", help="a picture or video of somebody who says it: NAME_face.mp4")
    face.add_argument("--face-box", type=box, metavar="L,T,R,B", help="the face's box in pixels; default: the middle")
    face.add_argument("--face-weights", metavar="DIR", help="LivePortrait's files; default as of jamflow render")
    add_solver_options(parser.add_argument_group("the solver"))
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
