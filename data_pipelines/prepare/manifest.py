"""The manifest: JSON lines, one clip a line; every field may be missing, but one of audio, motion and video.

    id          unique name; by default the file name of audio, video or motion without its ending
    audio       sound file, relative to the manifest
    text        what is said
    motion      .npy, .npz, .csv or LivePortrait .pkl, relative to the manifest
    video       its sound is taken where `audio` is missing, and motion from its pictures, by an extractor, where `motion` is
    motion_key  array in the .npz
    fps         motion frames a second: a number or "30000/1001"; by default what the file says
    space       motion space of the motion file, where it is not the data set's
    speech      .npy of speech features [frames, width], one a motion frame
    speaker     who speaks
    split       train, validation or test; by default by a hash of the id
    start, end  seconds: only this part of the files (start falls on the nearest motion frame)
    words, phonemes   [[start s, end s, label], ...], kept with the clip, in seconds from its start

Blank lines and lines that begin with # are skipped. A line that does not parse, or with a field not in this list, is rejected by
its number; the others go on.
"""
import dataclasses
import json
import math
import numbers
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from data_pipelines.index import SPLITS
from data_pipelines.prepare.report import Rejected, Report
from data_pipelines.remote import address, fetched
from jamflow_jax.errors import InputError
from jamflow_jax.motion.resample import frame_rate


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of a manifest, checked; paths are absolute or relative to the working directory."""

    line: int  # its number among the usable ones
    id: str
    audio: Path | None = None
    text: str | None = None
    motion: Path | None = None
    video: Path | None = None
    motion_key: str | None = None
    fps: Fraction | None = None
    space: str | None = None
    speech: Path | None = None
    speaker: str | None = None
    split: str | None = None
    start: float = 0.0
    end: float | None = None
    words: list | None = None
    phonemes: list | None = None
    recording: str | None = None  # id of the entry it was cut from: no field of a manifest

    @property
    def extra(self) -> dict:
        """Word and phoneme times, those that are there."""
        return {name: getattr(self, name) for name in ("words", "phonemes") if getattr(self, name) is not None}


FIELDS = tuple(field.name for field in dataclasses.fields(Entry) if field.name not in ("line", "recording"))


def manifest_lines(path: Path) -> list[str]:
    """The lines of a manifest. Raises InputError when the file cannot be read."""
    try:
        with fetched(path) as file:
            return file.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot read the manifest: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the manifest is not UTF-8 text (byte {error.start})") from None


def read_manifest(path: str | Path, report: Report) -> list[Entry]:
    """The usable lines of a manifest, in order; the others are counted in `report`.

    Raises:
      InputError: the file cannot be read.
    """
    path = Path(path)
    lines = enumerate(manifest_lines(path), 1)
    lines = [(f"{path.name} line {number}", line) for number, line in lines if line.strip() and not line.lstrip().startswith("#")]
    return checked(((place, line, path.parent) for place, line in lines), report)


def checked(rows: Iterable[tuple[str, str | dict | Rejected, Path]], report: Report) -> list[Entry]:
    """The usable ones of (place, manifest line or its fields, folder of its paths), in order; the others are counted in
    `report`."""
    entries, first = [], {}
    for place, row, base in rows:
        number = len(entries) + 1
        try:
            if isinstance(row, Rejected):
                raise row
            entry = parse_line(row, number, base) if isinstance(row, str) else parse_row(row, number, base)
            if entry.id in first:
                raise Rejected("duplicate id", f"{place}: id {entry.id!r} is taken by {first[entry.id]}")
        except InputError as error:
            report.reject(place, error if isinstance(error, Rejected) else Rejected("bad line", f"{place}: {error}"))
            continue
        first[entry.id] = place
        entries.append(entry)
    return entries


def parse_line(line: str, number: int, base: Path) -> Entry:
    """One line; `base` is the directory its paths are relative to. Raises InputError saying what is wrong with which field."""
    try:
        fields = json.loads(line, parse_constant=lambda name: math.nan)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InputError(f"a JSON object is needed, not {line.strip()[:40]!r}")
    return parse_row(fields, number, base)


def parse_row(fields: dict, number: int, base: Path) -> Entry:
    """One row, of a manifest or of another source. Raises InputError as `parse_line`."""
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # "\\ud800" is JSON, but no text that could be written anywhere
        raise InputError("it holds half a surrogate pair, or a file name that is not UTF-8") from None
    if unknown := sorted(fields.keys() - set(FIELDS)):
        raise InputError(f"unknown field {', '.join(map(repr, unknown))}; there are {', '.join(FIELDS)}")
    fields = {name: value for name, value in fields.items() if value is not None}
    for name in ("id", "audio", "text", "motion", "video", "motion_key", "space", "speech", "speaker", "split"):
        if not isinstance(fields.get(name, ""), str):
            raise InputError(f"{name} = {fields[name]!r} is no string")
        if "\0" in fields.get(name, ""):
            raise InputError(f"{name} holds a NUL character")
    sources = [fields[name] for name in ("audio", "video", "motion") if fields.get(name)]
    if not sources:
        raise InputError("neither audio nor motion nor video")
    if fields.get("split", "train") not in SPLITS:
        raise InputError(f"split = {fields['split']!r} is none of {', '.join(SPLITS)}")
    for name in ("start", "end"):
        _number(name, fields.get(name, 0.0))
    if fields.get("end", math.inf) <= fields.get("start", 0.0):
        raise InputError(f"end = {fields['end']} is not after start = {fields.get('start', 0.0)}")
    for name in ("words", "phonemes"):
        _times(name, fields.get(name, []))
    name = fields.get("id") or Path(sources[0]).stem
    named = {kind: fields[kind] for kind in ("audio", "motion", "video", "speech") if fields.get(kind)}
    paths = {kind: Path(place) if address(place) else base / place for kind, place in named.items()}
    fps = {"fps": frame_rate(fields["fps"])} if "fps" in fields else {}
    return Entry(**{**fields, "line": number, "id": name, **paths, **fps})


def _number(name: str, value) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0:
        raise InputError(f"{name} = {value!r} is no number from 0 on")
    return float(value)


def _times(name: str, value) -> None:
    good = isinstance(value, list) and all(
        isinstance(v, list) and len(v) == 3 and isinstance(v[2], str)
        and all(isinstance(t, numbers.Real) and not isinstance(t, bool) and math.isfinite(t) for t in v[:2])
        for v in value
    )  # fmt: skip
    if not good:
        raise InputError(f"{name} must be a list of [start s, end s, label]")
    for start, end, label in value:
        if not 0 <= start <= end:
            raise InputError(f"{name}: {[start, end, label]} does not run from 0 on, start to end")
