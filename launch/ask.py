"""A request as a person writes it: files, seconds and words. `read` turns it into frames for `flow.generate`.

A reference is a prefix of the sequence. It is padded at its front with silence to the 0.16 s grid, where mel and motion frames
meet, so that it can be cut off both streams exactly. Every task is a choice of known spans; the names below only check a request
and choose what is wanted.

    length of the result   of the sound or motion that is given; else `duration`; else F5-TTS's rule with a reference (as fast as it
                           speaks), a speaking rate without
"""
import dataclasses
import difflib
import math
import typing
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.timeline import (
    CROP_MEL,
    CROP_MOTION,
    HOP,
    MEL_TICKS,
    MOTION_FPS,
    MOTION_TICKS,
    SAMPLE_RATE,
    TICKS_PER_SECOND,
    mel_frames,
    mel_frames_of_motion,
    mel_frames_of_seconds,
    motion_frames,
)  # fmt: skip

# name: (what must be there, what must not, what is wanted; None: the streams that are not whole)
TASKS = {
    "audio-to-motion": (("audio",), ("text", "motion"), ("motion",)),
    "text-to-speech": (("text",), ("audio", "motion"), ("speech",)),
    "text-to-both": (("text",), ("audio", "motion", "ref_audio"), ("speech", "motion")),
    "text-and-reference-to-both": (("text", "ref_audio"), ("audio", "motion"), ("speech", "motion")),
    "dubbing": (("text", "motion"), ("audio",), ("speech",)),
    "motion-to-speech": (("motion",), ("text", "audio"), ("speech",)),
    "edit": ((), (), None),
}
TAIL_SECONDS = 0.25  # by how much given sound and motion may differ in length
MOST_SECONDS = 3600.0  # what is longer than --window is made in pieces
_GRID = CROP_MEL * HOP  # samples of 0.16 s


@dataclasses.dataclass(frozen=True)
class Ask:
    """One request. Files are relative to the working directory; spans are seconds, "0:1.2,3:4"."""

    name: str = "sample"
    task: str | None = None
    text: str | None = None
    ref_audio: str | None = None
    ref_text: str | None = None
    ref_motion: str | None = None
    audio: str | None = None
    motion: str | None = None
    rest: str | None = None
    truth: str | None = None
    no_rest: bool = False
    duration: float | None = None
    speed: float = 1.0
    rate: float | None = None
    give_audio: str | None = None
    give_motion: str | None = None
    edit: str | None = None
    edit_audio: str | None = None
    edit_motion: str | None = None
    want: str | None = None
    seed: int = 0

    @classmethod
    def from_json(cls, base: "Ask", fields: dict, folder: Path) -> "Ask":
        """`base` with the fields of one line of a requests file; its paths are relative to `folder`."""
        if not isinstance(fields, dict):
            raise InputError(f"a JSON object is needed, not {fields!r}"[:120])
        hints = typing.get_type_hints(cls)
        kinds = {name: (typing.get_args(hint) or (hint,))[0] for name, hint in hints.items()}  # X | None -> X
        for name, value in fields.items():
            if name not in kinds:
                near = difflib.get_close_matches(name, kinds, n=1)
                raise InputError(f"unknown field {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
            good = (int, float) if kinds[name] is float else kinds[name]
            if value is not None and (not isinstance(value, good) or (isinstance(value, bool) and good is not bool)):
                raise InputError(f"{name} = {value!r} is no {kinds[name].__name__}")
        paths = {name: str(folder / fields[name]) for name in FILES if fields.get(name)}
        return dataclasses.replace(base, **{name: v for name, v in fields.items() if v is not None} | paths)


FILES = ("ref_audio", "ref_motion", "audio", "motion", "rest", "truth")


@dataclasses.dataclass(eq=False)
class Question:
    """An `Ask` whose files have been read: the request in frames, and what its result is put together from."""

    ask: Ask
    request: object  # flow.generate.Request
    prefix: int  # mel frames of the reference, a multiple of 15
    length: int  # mel frames of the result
    audio_N: np.ndarray | None  # the given sound, of the result's part
    mel_TF: np.ndarray | None
    mel_given_T: np.ndarray
    motion_MD: np.ndarray | None  # the given motion, raw units
    motion_given_M: np.ndarray
    rest_MR: np.ndarray | None  # raw units
    truth_MD: np.ndarray | None = None  # to compare with
    notes: tuple[str, ...] = ()


def read(ask: Ask, model) -> Question:
    """Reads the files of a request for `model` (train.bundle.Model).

    Raises:
      InputError: a file that cannot be used, or a request that contradicts itself or asks for the impossible.
    """
    from data_pipelines.prepare.audio_reader import read_audio
    from data_pipelines.prepare.motion_reader import read_motion
    from jamflow_jax.audio.mel import log_mel_numpy
    from jamflow_jax.flow.generate import Request

    _check(ask)
    notes: list[str] = []

    def sound(path: str) -> np.ndarray:
        samples, said = read_audio(Path(path), limit=MOST_SECONDS)
        notes.extend(f"{Path(path).name}: {note}" for note in said)
        if not 2048 <= len(samples) <= MOST_SECONDS * SAMPLE_RATE:
            seconds = len(samples) / SAMPLE_RATE
            raise InputError(f"{path}: {seconds:.2f} s of sound; between 0.1 s and {MOST_SECONDS:g} s can be used")
        return samples

    def moving(path: str) -> np.ndarray:
        motion, said = read_motion(Path(path), model.space, longer_gaps="; fill them in the file, or leave it out")
        notes.extend(f"{Path(path).name}: {note}" for note in said)
        return motion

    # --- the result's own part
    audio_N = sound(ask.audio) if ask.audio else None
    motion_MD = moving(ask.motion) if ask.motion else None
    mel_TF = None if audio_N is None else log_mel_numpy(audio_N)
    ref_N, silence = _on_grid(sound(ask.ref_audio)) if ask.ref_audio else (np.zeros(0, np.float32), 0)
    prefix = len(ref_N) // HOP
    text = _text(ask)
    ids = None if text is None else model.tokenizer.encode(text)
    if text is not None and (strange := model.tokenizer.unknown(text)):
        notes.append(f"not in the vocabulary, read as spaces: {' '.join(sorted(strange))}")
    length = _length(ask, mel_TF, motion_MD, prefix, (len(ref_N) - silence) // HOP, 0 if ids is None else len(ids))
    frames = motion_frames(length)
    if motion_MD is not None:
        motion_MD = _fit(motion_MD, frames, ask.motion, whole=ask.duration is None)

    # --- what is known
    have_mel = 0 if mel_TF is None else len(mel_TF)
    have_motion = 0 if motion_MD is None else len(motion_MD)
    half_T, half_M = 2 * MEL_TICKS * np.arange(length), 2 * MOTION_TICKS * np.arange(frames) + MOTION_TICKS
    mel_given_T = _known(half_T, have_mel, ask.give_audio, (ask.edit, ask.edit_audio))
    motion_given_M = _known(half_M, have_motion, ask.give_motion, (ask.edit, ask.edit_motion))
    want = _wanted(ask, mel_given_T, motion_given_M, tuple(model.params))

    # --- in front of it, the reference
    known = {"mel": (None, None), "mouth": (None, None)}
    if prefix or mel_given_T.any():
        ref_mel = log_mel_numpy(ref_N)[:prefix] if prefix else np.zeros((0, model.config.model.audio.mel_dim), np.float32)
        known["mel"] = _join(ref_mel, np.ones(prefix, bool), mel_TF, mel_given_T)
    lead = prefix * CROP_MOTION // CROP_MEL
    ref_motion = moving(ask.ref_motion) if ask.ref_motion else None
    if ref_motion is not None:
        late = round(silence / SAMPLE_RATE * MOTION_FPS)  # frames: it begins where the reference's sound does, behind the silence
        ref_motion = _fit(ref_motion, lead - late, ask.ref_motion, whole=True)
        ref_motion = np.concatenate([np.repeat(ref_motion[:1], late, axis=0), ref_motion])
    if ref_motion is not None or motion_given_M.any():
        first = np.zeros((lead, model.space.dim), np.float32) if ref_motion is None else ref_motion
        values, mask = _join(first, np.full(lead, ref_motion is not None), motion_MD, motion_given_M)
        known["mouth"] = model.space.split(model.statistics.normalise(values))[0], mask

    # --- the rest of the face
    rest_MR = None
    if model.space.rest_dim and not ask.no_rest and ("motion" in want or motion_given_M.any()) and (ask.rest or ask.motion):
        rest = moving(ask.rest) if ask.rest else motion_MD
        rest_MR = model.space.split(_fit(rest, frames, ask.rest or ask.motion, whole=False, hold=True))[1]
    rest = None
    if rest_MR is not None:
        before = np.repeat(rest_MR[:1], lead, axis=0) if ref_motion is None else model.space.split(ref_motion)[1]
        rest = model.statistics.rest(model.space).normalise(np.concatenate([before, rest_MR]))

    request = Request(
        length=prefix + length, want_audio="speech" in want, want_motion="motion" in want, text_ids=ids,
        mel=known["mel"][0], mel_known=known["mel"][1], mouth=known["mouth"][0], mouth_known=known["mouth"][1],
        rest=rest, seed=ask.seed,
    )  # fmt: skip
    if model.config.stage == 1:
        stage_one(request, model, want)
    truth_MD = moving(ask.truth) if ask.truth else None
    return Question(
        ask, request, prefix, length, audio_N, mel_TF, mel_given_T, motion_MD, motion_given_M, rest_MR, truth_MD, tuple(notes)
    )


def spans(text: str | None, what: str) -> list[tuple[Fraction, Fraction | float]]:
    """"0:1.2,3:" -> [(0, 6/5), (3, inf)], exact seconds. Raises ConfigError."""
    found = []
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        start, colon, end = part.partition(":")
        try:
            a, b = Fraction(start or 0), Fraction(end) if end else math.inf
        except (ValueError, ZeroDivisionError):
            a = b = math.nan
        if not colon or not 0 <= a < b:
            raise ConfigError(f"{what}: {part!r} is no span of seconds START:END, such as 0:1.2")
        found.append((a, b))
    if text is not None and not found:
        raise ConfigError(f"{what}: no span in {text!r}; write START:END in seconds, such as 0:1.2,3:4")
    return found


def _check(ask: Ask) -> None:
    """What can be said before any file is read."""
    if not ask.name or ask.name in (".", "..") or set(ask.name) & set('/\\:\0') or ask.name.startswith("."):
        raise ConfigError(f"name {ask.name!r} does not make a file name")
    if ask.task is not None:
        if ask.task not in TASKS:
            near = difflib.get_close_matches(ask.task, TASKS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(TASKS)}"
            raise ConfigError(f"no task {ask.task!r}; {hint}")
        needs, refuses, _ = TASKS[ask.task]
        for name in needs:
            if getattr(ask, name) is None:
                raise ConfigError(f"task {ask.task} needs {_flag(name)}")
        for name in refuses:
            if getattr(ask, name) is not None:
                raise ConfigError(f"task {ask.task} takes no {_flag(name)}")
    pairs = (("give_audio", "audio"), ("edit_audio", "audio"), ("give_motion", "motion"), ("edit_motion", "motion"),
             ("ref_text", "ref_audio"), ("ref_motion", "ref_audio"))  # fmt: skip
    for name, other in pairs:
        if getattr(ask, name) is not None and getattr(ask, other) is None:
            raise ConfigError(f"{_flag(name)} needs {_flag(other)}")
    if ask.text is not None and ask.ref_audio is not None and ask.ref_text is None:
        raise ConfigError("--ref-audio with --text needs --ref-text: what the reference says")
    if ask.edit is not None and ask.audio is None and ask.motion is None:
        raise ConfigError("--edit needs --audio or --motion to edit")
    if ask.rest is not None and ask.no_rest:
        raise ConfigError("--rest and --no-rest contradict each other")
    for name in ("duration", "speed", "rate"):
        value = getattr(ask, name)
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{_flag(name)} is {value}; a positive number is needed")
    if ask.text is not None and not ask.text.strip():
        raise InputError("the text to say is empty")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _text(ask: Ask) -> str | None:
    if ask.text is None:
        return None
    if ask.ref_text is None:
        return ask.text
    from jamflow_jax.text.duration import reference_text

    return reference_text(ask.ref_text) + ask.text


def _length(
    ask: Ask, mel_TF: np.ndarray | None, motion_MD: np.ndarray | None, prefix: int, spoken: int, tokens: int
) -> int:  # fmt: skip
    """Mel frames of the result. `spoken`: those of the prefix without the silence in front, which says nothing of the pace."""
    have = len(mel_TF) if mel_TF is not None else mel_frames_of_motion(len(motion_MD)) if motion_MD is not None else 0
    if ask.duration is not None:
        length = mel_frames_of_seconds(ask.duration)
        if length < have - 1:
            raise InputError(f"--duration {ask.duration:g} s is shorter than the {have * HOP / SAMPLE_RATE:.2f} s that are given")
        length = max(length, have)
    elif have:
        length = have
    elif ask.text is None:
        raise ConfigError("nothing says how long the result is: give --audio, --motion, --text or --duration")
    else:
        from jamflow_jax.text.duration import DEFAULT_RATE, f5_duration, reference_text, spoken_duration

        if prefix and ask.rate is None:
            length = f5_duration(spoken, reference_text(ask.ref_text), ask.text, speed=ask.speed, tokens=tokens) - spoken
        else:
            length = spoken_duration(ask.text, ask.rate or DEFAULT_RATE, speed=ask.speed, tokens=tokens)
    most = mel_frames(int(MOST_SECONDS * SAMPLE_RATE))
    if not 8 <= prefix + length <= most:
        seconds = (prefix + length) * HOP / SAMPLE_RATE
        raise InputError(f"{seconds:.2f} s with the reference; between 0.1 s and {MOST_SECONDS:g} s can be generated")
    return length


def _fit(motion_MD: np.ndarray, frames: int, path: str, whole: bool, hold: bool = False) -> np.ndarray:
    """Motion cut to `frames`; where it should cover them all, its last frame is held for at most TAIL_SECONDS."""
    missing = frames - len(motion_MD)
    if missing <= 0:
        if -missing > TAIL_SECONDS * MOTION_FPS and not hold:
            raise InputError(f"{path}: {len(motion_MD) / MOTION_FPS:.2f} s of motion for {frames / MOTION_FPS:.2f} s")
        return motion_MD[:frames]
    if not (whole or hold):
        return motion_MD
    if missing > TAIL_SECONDS * MOTION_FPS and not hold:
        raise InputError(f"{path}: {len(motion_MD) / MOTION_FPS:.2f} s of motion for {frames / MOTION_FPS:.2f} s")
    return np.concatenate([motion_MD, np.repeat(motion_MD[-1:], missing, axis=0)])


def _known(half_ticks_N: np.ndarray, have: int, give: str | None, edits: Sequence[str | None]) -> np.ndarray:
    """Frames that are handed in: those there are, only the spans of `give` if any, without the edited ones.

    A frame belongs to a span when its time (motion: its middle) lies in it; times in half ticks, so that both are integers.
    """

    def inside(a: Fraction, b: Fraction | float) -> np.ndarray:
        scale = 2 * TICKS_PER_SECOND
        last = half_ticks_N[-1] + 1 if b == math.inf else math.ceil(b * scale)
        return (half_ticks_N >= math.ceil(a * scale)) & (half_ticks_N < last)

    known = np.arange(len(half_ticks_N)) < have
    if give is not None and have:
        known &= np.any([inside(a, b) for a, b in spans(give, "--give")], axis=0)
    end = (half_ticks_N[-1] + half_ticks_N[1] - half_ticks_N[0]) / (2 * TICKS_PER_SECOND)
    for text in edits:
        for a, b in spans(text, "--edit"):
            if a >= end:
                raise InputError(f"--edit {text}: a span begins behind the end, at {end:.2f} s")
            known &= ~inside(a, b)
    return known


def _wanted(ask: Ask, mel_given_T: np.ndarray, motion_given_M: np.ndarray, streams: tuple[str, ...]) -> tuple[str, ...]:
    """What to generate, as said, by the task, or what is not whole of the streams that the model has."""
    if ask.want is not None:
        want = tuple(part.strip() for part in ask.want.split(","))
        if bad := [part for part in want if part not in ("speech", "motion")]:
            raise ConfigError(f"--want {bad[0]!r}: speech, motion or speech,motion")
    elif ask.task is not None and TASKS[ask.task][2] is not None:
        want = TASKS[ask.task][2]
    else:
        partial = [name for name, given in (("speech", mel_given_T), ("motion", motion_given_M)) if given.any() and not given.all()]
        missing = [name for name, given in (("speech", mel_given_T), ("motion", motion_given_M)) if not given.any()]
        has = {"audio": "speech", "motion": "motion"}
        want = tuple(partial or [name for name in missing if name in [has[stream] for stream in streams]] or missing)
    for name, given in (("speech", mel_given_T), ("motion", motion_given_M)):
        if given.any() and not given.all() and name not in want:  # a stream with a hole is filled
            want = (*want, name)
        if given.all() and name in want and ask.want is not None:
            raise InputError(f"--want {name}: all of it is given; name the spans to make with --edit or --give-...")
    if not want or (mel_given_T.all() and motion_given_M.all()):
        raise InputError("all of the speech and motion is given; name the spans to make with --edit, --give-audio or --give-motion")
    return want


def _on_grid(audio_N: np.ndarray) -> tuple[np.ndarray, int]:
    """Silence in front, up to a multiple of 0.16 s, and its samples: the reference's end, where the new speech goes on, stays."""
    silence = -len(audio_N) % _GRID
    return np.pad(audio_N, (silence, 0)), silence


def _join(first: np.ndarray, first_known: np.ndarray, values: np.ndarray | None, known: np.ndarray) -> tuple[np.ndarray, ...]:
    """Reference and result's part, and which of their frames are known."""
    padded = np.zeros((len(known), first.shape[1]), np.float32)
    if values is not None:
        padded[: min(len(values), len(known))] = values[: len(known)]
    return np.concatenate([first.astype(np.float32), padded]), np.concatenate([first_known, known])


def stage_one(request, model, want: tuple[str, ...]) -> None:
    """A stage-1 model hears speech as features of each motion frame and makes motion only."""
    from jamflow_jax.train.model_call import mel_per_motion_frame

    if want != ("motion",):
        raise InputError("this is a stage-1 run: it makes motion from speech and nothing else (--audio)")
    if model.config.speech != "mel":
        raise InputError("this stage-1 run needs speech features of a prepared data set; it cannot start from a sound file")
    if request.mel is not None:
        length = np.array([request.length])
        mel = np.where(request.mel_known[:, None], request.mel, 0)[None]
        request.speech = np.asarray(mel_per_motion_frame(mel, length, motion_frames(request.length)))[0]
    request.text_ids = request.mel = request.mel_known = None
