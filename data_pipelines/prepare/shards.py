"""One shard: examples -> fitted, encoded rows -> `data-`, `audio-` and `speech-` files. A pure function of its examples.

Fitting brings sound and motion of a clip to one length T (mel frames), M = ceil(4 T / 15):

    motion longer than M      cut to M                       (noted beyond SLACK frames)
    shorter, by up to SLACK   its last frame is repeated     (noted beyond 1)
    shorter by more           sound cut to what motion covers, T = floor(15 M / 4)   (noted; beyond KEEPS_TEXT text is dropped)
    no sound                  T = floor(15 M / 4)
    longer than the limit     rejected, or with `crop` cut there and its text dropped (noted)

Word and phoneme times go with the text: what is left of the sound is no longer all that they say.

GRID: 2.978 s of sound are 280 mel frames, which carry 75 motion frames, and 75 there are.
"""
import dataclasses
import errno
import hashlib
import json
import os
import platform
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from data_pipelines.index import AUDIO, MOTION, SPEECH, SPLITS, TEXT, split_of
from data_pipelines.prepare.near import sketch
from data_pipelines.prepare.report import Rejected
from data_pipelines.record import Record, encode_audio, encode_speech, length_of
from jamflow_jax.audio.mel import log_mel_numpy
from jamflow_jax.errors import InputError
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.timeline import HOP, SAMPLE_RATE, mel_frames, mel_frames_of_motion, mel_frames_of_seconds, motion_frames

SLACK = 2  # motion frames (80 ms)
KEEPS_TEXT = 0.5  # seconds of sound that may be cut off under its text: a pause at the end
FASTEST = 40  # characters a second; people reach 25
TIMED = ("words", "phonemes")  # of `extra`
MIN_SAMPLES = 1_024  # one window of the mel
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room left on our own disk
DONE = "done"  # folder beside the shards: word of the finished ones, while the data set is being made
WRITER = "group_size:1,uncompressed"  # a chunk of its own per record: random access, and damage stays in one record


@dataclasses.dataclass(frozen=True)
class Example:
    """One clip, read and converted; what every source (manifest, synthetic corpus) hands to `build`."""

    id: str  # unique in the data set
    audio: np.ndarray | None = None  # [N] float, 24 kHz, mono, in [-1, 1]
    motion: np.ndarray | None = None  # [M, D] float32, 25 fps, raw units of the data set's motion space
    text: str | None = None
    speaker: str | None = None
    split: str | None = None  # "train" | "validation" | "test"; None: by hash of the recording's id
    speech: np.ndarray | None = None  # [M, S] speech features per motion frame
    extra: dict = dataclasses.field(default_factory=dict)  # JSON: words, phonemes as [[start s, end s, label], ...]
    notes: tuple[str, ...] = ()  # what was said about it while reading: "kind: detail"
    recording: str | None = None  # id of what it was cut from, whose parts stay in one split; None: its own


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the bytes of a shard besides its examples."""

    space: MotionSpace
    tokenizer: Tokenizer | None = None  # only to say which characters it lacks
    validation: float = 0.05
    test: float = 0.05
    max_seconds: float = 30.0
    crop: bool = False
    keep_audio: bool = True


@dataclasses.dataclass
class Shard:
    """What is to be known about a written shard."""

    number: int
    rows: list[dict] = dataclasses.field(default_factory=list)  # as `Index.from_rows` wants them
    notes: list[tuple[str, ...]] = dataclasses.field(default_factory=list)  # one tuple a row
    rejected: list[tuple[str, InputError]] = dataclasses.field(default_factory=list)
    speech_dims: set[int] = dataclasses.field(default_factory=set)
    files: dict[str, str] = dataclasses.field(default_factory=dict)  # name -> SHA-256
    digests: list[str] = dataclasses.field(default_factory=list)  # of every row's sound (or motion), to find duplicates by
    sketches: list[str] = dataclasses.field(default_factory=list)  # of every row's sound, see `near`

    def to_json(self) -> str:
        """Everything, as text."""
        values = dataclasses.asdict(self)
        values["speech_dims"] = sorted(self.speech_dims)
        values["rejected"] = [(clip, getattr(error, "reason", "unusable"), str(error)) for clip, error in self.rejected]
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> "Shard":
        """The inverse of `to_json`. Raises ValueError, TypeError or KeyError."""
        values = json.loads(text)
        values["speech_dims"] = set(values["speech_dims"])
        values["notes"] = [tuple(notes) for notes in values["notes"]]
        values["rejected"] = [(clip, Rejected(reason, message)) for clip, reason, message in values["rejected"]]
        if len(values["sketches"]) != len(values["rows"]):
            raise ValueError("of another version")
        return cls(**values)


def write_shard(
    number: int, examples: Iterable[Example | tuple[str, InputError]], settings: Settings, directory: Path, key: str | None = None
) -> Shard:
    """Encodes the examples into shard `number` of `directory`; (id, error) pairs are inputs that could not be read.

    Rows are written as they come, so that memory holds one clip; files get their names when they are complete, and go when they do
    not get there: a full disk is not filled further. A shard without a usable example leaves none. With a `key`, word of the
    finished shard is left for `finished`.

    Raises:
      OSError: the disk is full, or not to be written.
    """
    shard = Shard(number)
    names = {column: f"{column}-{number:05d}.array_record" for column in ("data", "audio", "speech")}
    # a worker that outlives its killed parent, or a bundle that a runner tries twice, writes its own; `sweep` reads whose it is
    mark = f"{platform.node()}~{os.getpid()}~{secrets.token_hex(4)}"
    partial = {column: directory / f"{name}.{mark}.partial" for column, name in names.items()}
    writers, used = {}, set()
    try:
        for column, path in partial.items():
            writers[column] = ArrayRecordWriter(str(path), WRITER)
        for example in examples:
            if isinstance(example, tuple):
                shard.rejected.append(example)
                continue
            try:
                record, audio, notes = encode(example, settings)
            except InputError as error:
                shard.rejected.append((example.id, error))
                continue
            kept = audio if settings.keep_audio else None
            row = {"data": record.to_bytes(), "audio": encode_audio(kept), "speech": encode_speech(record.speech)}
            for column, value in row.items():
                writers[column].write(value)
                used |= {column} if value else set()
            if record.speech is not None:
                shard.speech_dims.add(record.speech.shape[1])
            shard.rows.append(_row(record, example, number, len(shard.rows), settings))
            shard.notes.append(notes)
            content = record.motion if audio is None else np.round(audio * 32767).astype(np.int16)
            shard.digests.append(hashlib.sha256(content.tobytes()).hexdigest()[:32])
            shard.sketches.append(sketch(record.mel))
        for writer in writers.values():
            writer.close()
        for column in (column for column in names if column in used):  # of the others no clip of this shard has any
            with open(partial[column], "rb") as file:
                shard.files[names[column]] = hashlib.file_digest(file, "sha256").hexdigest()
            os.replace(partial[column], directory / names[column])
    except RuntimeError as error:  # what array_record makes of a failed write, in its own words
        raise _write_error(error, directory) from None
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
    if key is not None:
        _leave_word(shard, directory, key)
    return shard


def sweep(directory: Path) -> None:
    """Removes the unfinished files of writers that were killed: those of this machine's processes that run no longer.

    For who holds the preparation's lock. Of another machine (of a Beam runner) nothing is known: its files go when the data set is
    whole. So does the file of a number that another process has by now.
    """
    for path in directory.glob("*.partial"):
        owner = re.search(r"\.array_record\.(.*)~(\d+)~[0-9a-f]+\.partial$", path.name)
        if owner and owner[1] == platform.node() and not _runs(int(owner[2])):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def finished(number: int, directory: Path, key: str) -> Shard | None:
    """The shard, if a run with the same key has written it and its files are as they were then."""
    try:
        word = json.loads(_word(number, directory).read_text())
        if word["key"] != key or any(os.path.getsize(directory / name) != size for name, size in word["sizes"].items()):
            return None
        return Shard.from_json(word["shard"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _leave_word(shard: Shard, directory: Path, key: str) -> None:
    sizes = {name: os.path.getsize(directory / name) for name in shard.files}
    path = _word(shard.number, directory)
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps({"key": key, "sizes": sizes, "shard": shard.to_json()}))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _word(number: int, directory: Path) -> Path:
    return directory.parent / DONE / f"{number:05d}.json"


def _write_error(error: RuntimeError, directory: Path) -> OSError:
    known = {"No space left": errno.ENOSPC, "quota exceeded": errno.EDQUOT, "File too large": errno.EFBIG}
    code = next((code for words, code in known.items() if words in str(error)), errno.EIO)
    return OSError(code, os.strerror(code) if code != errno.EIO else " ".join(str(error).split())[:200], str(directory))


def encode(example: Example, settings: Settings) -> tuple[Record, np.ndarray | None, tuple[str, ...]]:
    """The record of an example, its sound as fitted, and all notes on it. Raises Rejected."""
    notes = list(example.notes)
    audio, motion, text = example.audio, example.motion, example.text
    _check(example, settings.space)
    length = length_of(None if audio is None else mel_frames(len(audio)), None if motion is None else len(motion))
    whole = length
    if audio is not None and motion is not None:
        length = _common_length(length, len(motion), notes)
    keeps_text = (whole - length) * HOP <= KEEPS_TEXT * SAMPLE_RATE
    if not keeps_text and text:
        notes[-1] += ", text dropped"
    if audio is not None and length * HOP - 1 < MIN_SAMPLES:
        raise Rejected("too short", f"{example.id}: {len(motion)} frames of motion for {len(audio) / SAMPLE_RATE:.2f} s of sound")
    if (limit := mel_frames_of_seconds(settings.max_seconds)) < length:
        if not settings.crop:
            wanted = "cut it with start and end, or give --crop"
            raise Rejected("too long", f"{example.id}: more than --max-seconds {settings.max_seconds:g}; {wanted}")
        notes.append(f"cropped: to {settings.max_seconds:g} s" + (", text dropped" if text and keeps_text else ""))
        length, keeps_text = limit, False
    extra = example.extra
    if not keeps_text:
        text, extra = None, {name: value for name, value in extra.items() if name not in TIMED}
    if text and settings.tokenizer and (unknown := settings.tokenizer.unknown(text)):
        notes.append(f"outside the vocabulary: {' '.join(sorted(unknown))} (read as id 0)")
    if text and audio is not None:
        _check_text(example.id, text, length, settings.tokenizer, notes)
    mel = None
    if audio is not None:
        if (peak := float(np.abs(audio).max())) > 1.0:
            notes.append(f"clipped: peak {peak:.3g}")
        audio = np.clip(audio[: length * HOP - 1], -1.0, 1.0).astype(np.float32)
        mel = log_mel_numpy(audio).astype(np.float16)
    record = Record(
        example.id, length, mel, _fit(motion, motion_frames(length), np.float32), text or None, example.speaker or None,
        extra, _fit(example.speech, motion_frames(length), np.float16),
    )  # fmt: skip
    record.check()
    return record, audio, tuple(notes)


def _check(example: Example, space: MotionSpace) -> None:
    name, audio, motion, speech = example.id, example.audio, example.motion, example.speech
    if audio is None and motion is None:
        raise Rejected("nothing in it", f"{name}: neither sound nor motion")
    if example.split is not None and example.split not in SPLITS:
        raise Rejected("bad split", f"{name}: split {example.split!r} is none of {', '.join(SPLITS)}")
    if audio is not None and (audio.ndim != 1 or len(audio) < MIN_SAMPLES):
        raise Rejected("too short", f"{name}: {audio.size} samples; {MIN_SAMPLES} (43 ms) are needed")
    if audio is not None and not np.isfinite(audio).all():
        raise Rejected("NaN samples", f"{name}: samples that are not finite numbers")
    if motion is not None:
        if motion.ndim != 2 or motion.shape[1] != len(space.dims) or not len(motion):
            raise Rejected("other motion space", f"{name}: motion of shape {motion.shape} where space {space.name!r} has "
                                                 f"{len(space.dims)} dimensions")  # fmt: skip
        if not np.isfinite(motion).all():
            raise Rejected("NaN motion", f"{name}: motion values that are not finite numbers")
    if speech is not None:
        if speech.ndim != 2 or not np.isfinite(speech).all():
            raise Rejected("bad speech features", f"{name}: speech features must be finite numbers [frames, width]")
        frames = motion_frames(mel_frames(len(audio))) if audio is not None else len(motion)
        if abs(len(speech) - frames) > SLACK:
            raise Rejected("bad speech features", f"{name}: {len(speech)} frames of speech features for {frames} of motion")


def _check_text(name: str, text: str, length: int, tokenizer: Tokenizer | None, notes: list[str]) -> None:
    """Text is read one token a mel frame: what is longer would be cut off, and belongs to other sound."""
    tokens, rate = len(tokenizer.encode(text)) if tokenizer else len(text), len(text) / (length * HOP / SAMPLE_RATE)
    if tokens > length:
        wrong = f"{tokens} tokens of text for {length} mel frames ({rate:.0f} characters a second)"
        raise Rejected("odd transcript", f"{name}: {wrong}; it is not what is said there")
    if rate > FASTEST:
        notes.append(f"fast text: {rate:.0f} characters a second, where people reach 25")


def _common_length(length: int, have: int, notes: list[str]) -> int:
    need = motion_frames(length)
    if have > need + SLACK:
        notes.append(f"motion cut: {have} frames to the {need} that the sound lasts")
    elif need - SLACK <= have < need:
        if need - have > 1:  # the mel has a frame more than its sound: one motion frame is owed to that
            notes.append(f"motion padded: {have} frames to {need}, the last repeated")
    elif have < need:
        notes.append(f"sound cut: to the {have} frames of motion, from {need}")
        return mel_frames_of_motion(have)
    return length


def _fit(x_ND: np.ndarray | None, frames: int, dtype) -> np.ndarray | None:
    """The first `frames` rows, the last repeated where there are fewer."""
    if x_ND is None:
        return None
    return x_ND[np.minimum(np.arange(frames), len(x_ND) - 1)].astype(dtype)


def _row(record: Record, example: Example, shard: int, row: int, settings: Settings) -> dict:
    flags = (
        AUDIO * (record.mel is not None) | MOTION * (record.motion is not None) | TEXT * bool(record.text)
        | SPEECH * (record.speech is not None)
    )  # fmt: skip
    split = example.split or split_of(example.recording or record.id, settings.validation, settings.test)
    return {"id": record.id, "length": record.length, "flags": flags, "split": split, "shard": shard, "row": row,
            "speaker": record.speaker}  # fmt: skip

