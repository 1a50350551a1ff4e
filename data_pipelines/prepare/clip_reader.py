"""One entry's files -> one example: sound, motion, speech features, cut to its part of them and cleaned."""
import contextlib
import dataclasses
import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from data_pipelines.prepare import video_reader
from data_pipelines.prepare.audio_reader import read_audio
from data_pipelines.prepare.clean import Cleaning
from data_pipelines.prepare.extractors import Extractor, extract, frames_to_do
from data_pipelines.prepare.features import Features
from data_pipelines.prepare.manifest import Entry
from data_pipelines.prepare.motion_reader import read_motion
from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.shards import FULL, Example, Settings
from data_pipelines.remote import fetched
from jamflow_jax.errors import InputError
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.timeline import MOTION_FPS


@dataclasses.dataclass(frozen=True)
class Reading:
    """How files become clips.

    Attributes:
      max_gap: motion frames in a row, in the file's own frame rate, that may be missing and are interpolated.
      extractor: makes motion of videos; None takes their sound alone.
      features: makes speech features where an entry has none.
    """

    max_gap: int = 5
    extractor: Extractor | None = None
    features: Features | None = None
    cleaning: Cleaning = Cleaning()


def read_examples(entries: list[Entry], settings: Settings, reading: Reading) -> Iterable[Example | tuple[str, InputError]]:
    """The examples of the entries, with (id, error) for those that cannot be used."""
    for entry in entries:
        try:
            example = read_example(entry, settings.space, reading, settings.max_seconds)
            yield reading.cleaning(example, settings.tokenizer)
        except InputError as error:
            yield entry.id, error
        except MemoryError:
            yield entry.id, Rejected("too large", f"{entry.audio or entry.video or entry.motion}: does not fit into memory")
        except OSError as error:
            if error.errno in FULL:  # that of our own disk: nothing of the clip's
                raise
            yield entry.id, Rejected("cannot be read", f"{error.filename or entry.id}: {error.strerror}")


def read_example(entry: Entry, space: MotionSpace, reading: Reading, limit: float | None = None) -> Example:
    """Reads the files of one entry, of more than `limit` seconds only a little more than that. Raises Rejected or OSError."""
    with contextlib.ExitStack() as copies:
        here = {name: copies.enter_context(fetched(getattr(entry, name))) for name in ("audio", "video", "motion", "speech")}
        return _read(dataclasses.replace(entry, **here), space, reading, limit, entry.video)


def _read(entry: Entry, space: MotionSpace, reading: Reading, limit: float | None, video: Path | None) -> Example:
    notes: list[str] = []
    audio = motion = speech = None
    start, end = _part(entry, limit)
    sound = entry.audio
    if entry.video and not sound:
        if video_reader.probe(entry.video).has_sound:
            sound = entry.video
        else:
            notes.append("no sound: the video has pictures alone")
    if sound:
        audio, said = read_audio(sound, float(start), end)
        notes += said
    motion, said = _motion(entry, space, reading, start, end, video)
    notes += said
    if entry.speech:
        speech = _cut(_speech(entry.speech), start, end, entry.speech)
    elif reading.features and audio is not None:
        speech = reading.features.of(audio)
    return Example(
        entry.id, audio, motion, entry.text, entry.speaker, entry.split, speech, entry.extra, tuple(notes), entry.recording
    )


def _part(entry: Entry, limit: float | None) -> tuple[Fraction, float | None]:
    """(start, end) of what is read, in seconds."""
    start = Fraction(round(entry.start * MOTION_FPS), MOTION_FPS)  # on a motion frame
    if limit is None:
        return start, entry.end
    # a 10-hour file is not decoded to be found too long
    return start, min(float(start) + limit + 0.5, math.inf if entry.end is None else entry.end)


def extract_ahead(entry: Entry, reading: Reading, limit: float | None = None) -> int:
    """Motion of an entry's video into what is kept; how many frames that were. Raises Rejected."""
    start, end = _part(entry, limit)
    with fetched(entry.video) as path:
        return frames_to_do(reading.extractor, path, float(start), end, entry.video)


def _motion(entry: Entry, space: MotionSpace, reading: Reading, start: Fraction, end: float | None, video: Path | None):
    if entry.motion:
        motion, notes = read_motion(
            entry.motion, space, entry.motion_key, entry.fps, entry.space, reading.max_gap, " (--max-gap)"
        )  # fmt: skip
        return _cut(motion, start, end, entry.motion), notes
    if not (entry.video and reading.extractor):
        return None, []
    path, notes = extract(reading.extractor, entry.video, float(start), end, video)
    try:
        motion, said = read_motion(path, space, max_gap=reading.max_gap, longer_gaps=" (--max-gap)")
    except Rejected as error:  # it is the video that people know
        raise Rejected(error.reason, str(error).replace(str(path), str(video))) from None
    return _cut(motion, Fraction(0), None if end is None else end - float(start), entry.video), notes + said


def _cut(x_MD: np.ndarray, start: Fraction, end: float | None, path: Path) -> np.ndarray:
    first = int(start * MOTION_FPS)
    last = len(x_MD) if end is None else round(end * MOTION_FPS)
    if first >= len(x_MD):
        raise Rejected("empty motion", f"{path}: no frames from {float(start):g} s on")
    return x_MD[first:last]


def _speech(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except FileNotFoundError:
        raise Rejected("missing file", f"{path}: no such file") from None
    except Exception as error:  # numpy has many
        raise Rejected("bad speech features", f"{path}: no array [frames, width] ({error})") from None
