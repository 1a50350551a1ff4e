"""What `jamflow prepare` can be pointed at: every kind of source is a generator of manifest rows, and all after it is shared.

    manifest    JSON lines (`manifest`)
    f5-csv      F5-TTS's metadata.csv: `audio_file|text` with a header line
    f5-arrow    F5-TTS's prepared folder: raw.arrow and duration.json (needs pyarrow)
    ljspeech    metadata.csv `id|text|normalised text` beside wavs/
    libritts    speaker/chapter/utterance.wav beside utterance.normalized.txt
    tfds        a TFDS audio set in array_record form: its folder, or NAME[/CONFIG] (needs tensorflow-datasets)
    files       a file, or a folder with all below it. Files of one name belong together: video, sound, motion (LivePortrait .pkl,
                ARKit or
                other .csv, .npz, .npy), text (.txt, .lab, .normalized.txt). The first folder's name is the speaker, where there
                are folders
    videos, templates, motion, sound      the same, of that sort of files alone (and their text)

A row's id is its path below the source without the ending, so that it does not depend on where the source lies; of sound that a
table places elsewhere it is the path below the folder that all of that has in common.
"""
import dataclasses
import hashlib
import json
import os
import reprlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from data_pipelines.prepare.liveportrait import TRACK
from data_pipelines.prepare.manifest import manifest_lines
from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.video_reader import ENDINGS as VIDEO
from data_pipelines.remote import address, stamp
from jamflow_jax.errors import ConfigError, InputError

SOUND = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".sph", ".wma")
MOTION = (".pkl", ".npz", ".npy", ".csv")
TEXT = (".normalized.txt", ".txt", ".lab")
SORTS = {"video": VIDEO, "audio": SOUND, "motion": MOTION, "text": TEXT}  # manifest field -> endings

Row = tuple[str, "str | dict | Rejected", Path]  # (place to name it by, manifest line or fields, folder its paths are relative to)


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of source.

    Attributes:
      rows: (path, folder for what has to be unpacked) -> rows.
      fits: whether a path looks like one.
    """

    rows: Callable[[Path, Path], Iterator[Row]]
    fits: Callable[[Path], bool] = lambda path: False


KINDS: dict[str, Kind] = {}


def kind(name: str, fits: Callable[[Path], bool] = lambda path: False):
    """Decorator: registers a generator of rows. Kinds are tried in the order they are registered in."""

    def keep(rows):
        KINDS[name] = Kind(rows, fits)
        return rows

    return keep


def detect(path: str | Path) -> str:
    """The kind of a source. Raises InputError when there is nothing there, or nothing known in it."""
    if at := address(path):
        if at.endswith((".jsonl", ".json", ".manifest")):
            return "manifest"
        raise InputError(f"{at}: of what lies at addresses a manifest is needed (.jsonl); it may lie there too, or here")
    if not Path(path).exists():
        if str(path).startswith("tfds:"):
            return "tfds"
        raise InputError(f"{path}: no such file or folder")
    for name, known in KINDS.items():
        if known.fits(Path(path)):
            return name
    raise InputError(f"{path}: not seen what kind of source this is; say it with --kind {', '.join(KINDS)}")


def rows(path: str | Path, name: str | None = None, unpacked: str | Path = "unpacked", speaker: str | None = None) -> Iterator[Row]:
    """The rows of a source, its kind found out where it is not named; `speaker` stands where a row names none.

    Raises:
      InputError: nothing there, or not of that kind.
    """
    name = name or detect(path)
    if name not in KINDS:
        raise ConfigError(f"--kind {name!r} is none of {', '.join(KINDS)}")
    for place, row, base in KINDS[name].rows(Path(path), Path(unpacked)):
        if speaker and isinstance(row, dict):
            row = {"speaker": speaker} | row
        yield place, row, base


@kind("manifest", lambda path: path.is_file() and path.suffix.lower() in (".jsonl", ".json", ".manifest"))
def _manifest(path: Path, unpacked: Path) -> Iterator[Row]:
    for number, line in enumerate(manifest_lines(path), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{path.name} line {number}", line, path.parent


def _table(path: Path) -> Path:
    return path / "metadata.csv" if path.is_dir() else path


def _header(path: Path) -> str:
    try:
        with open(_table(path), encoding="utf-8-sig", errors="replace") as file:
            return file.readline(1000).strip()
    except OSError:
        return ""


def _split(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(place, fields) of the lines of a table that has | between its columns and no quotes."""
    for number, line in enumerate(manifest_lines(path), 1):
        if line.strip():
            yield f"{path.name} line {number}", [field.strip() for field in line.rstrip("\r").split("|")]


@kind("f5-csv", lambda path: _table(path).suffix == ".csv" and _header(path).startswith("audio_file|"))
def _f5_csv(path: Path, unpacked: Path) -> Iterator[Row]:
    table = _table(path)
    lines = _split(table)
    place, header = next(lines, ("", [""]))
    if header[:2] != ["audio_file", "text"]:
        raise InputError(f"{place or table}: columns {'|'.join(header)}; F5-TTS's file begins with audio_file|text")
    lines, here = list(lines), Path(os.path.abspath(table.parent))
    outside = [audio.parent for _, (name, *_) in lines if (audio := Path(name)).is_absolute() and not audio.is_relative_to(here)]
    above = [here, *([Path(os.path.commonpath(outside))] if outside else [])]
    for place, fields in lines:
        if len(fields) < 2 or not fields[0]:
            yield place, _wrong(place, f"{len(fields)} columns where audio_file|text is needed"), table.parent
            continue
        audio = Path(fields[0])
        name = next((audio.relative_to(folder) for folder in above if audio.is_relative_to(folder)), audio)
        yield place, {"id": str(name.with_suffix("")), "audio": fields[0], "text": "|".join(fields[1:])}, table.parent


@kind("f5-arrow", lambda path: (path / "raw.arrow").exists() or path.name == "raw.arrow")
def _f5_arrow(path: Path, unpacked: Path) -> Iterator[Row]:
    folder = path if path.is_dir() else path.parent
    try:
        import pyarrow
    except ImportError:
        raise InputError(f"{folder}/raw.arrow: reading it needs pyarrow; pip install 'jamflow-jax[arrow]'") from None
    try:
        with pyarrow.memory_map(str(folder / "raw.arrow")) as file:
            try:
                table = pyarrow.ipc.open_stream(file).read_all()
            except pyarrow.ArrowInvalid:
                file.seek(0)
                table = pyarrow.ipc.open_file(file).read_all()
        columns = {name: table.column(name) for name in ("audio_path", "text")}
        listed = folder / "duration.json"
        durations = len(json.loads(listed.read_text())["duration"]) if listed.exists() else table.num_rows
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{folder}: not F5-TTS's raw.arrow (audio_path, text) and duration.json ({error})") from None
    if durations != table.num_rows:
        raise InputError(f"{folder}/duration.json: {durations} durations for {table.num_rows} clips of raw.arrow")
    for number in range(table.num_rows):
        place = f"raw.arrow row {number}"
        audio, text = (columns[name][number].as_py() for name in ("audio_path", "text"))
        tokens = text if isinstance(text, list) else ["" if text is None else text]  # characters, or syllables and spaces
        if not all(isinstance(said, str) for said in (audio, *tokens)):
            said = f"audio_path = {audio!r}, text = {reprlib.repr(text)}: a path and a text, or its tokens, are needed"
            yield place, _wrong(place, said), folder
            continue
        yield place, {"id": f"{number:07d}-{Path(audio).stem}", "audio": audio, "text": "".join(tokens).strip()}, folder


@kind("ljspeech", lambda path: path.is_dir() and (path / "metadata.csv").exists() and _header(path).count("|") in (1, 2))
def _ljspeech(path: Path, unpacked: Path) -> Iterator[Row]:
    table = _table(path)
    ending = next((ending for ending in SOUND if any((table.parent / "wavs").glob(f"*{ending}"))), ".wav")
    for place, fields in _split(table):
        if len(fields) not in (2, 3) or not fields[0]:
            yield place, _wrong(place, f"{len(fields)} columns where id|text|normalised text is needed"), table.parent
            continue
        yield place, {"id": fields[0], "audio": f"wavs/{fields[0]}{ending}", "text": fields[-1]}, table.parent


@kind("libritts", lambda path: path.is_dir() and next(path.rglob("*.normalized.txt"), None) is not None)
def _libritts(path: Path, unpacked: Path) -> Iterator[Row]:
    for place, row, base in _files(path, unpacked, ("audio", "text")):
        if isinstance(row, dict):
            reader = Path(row.get("audio", "")).name.split("_")[0]  # 1034_121119_000005_000001.wav
            row |= {"speaker": reader} if reader.isdigit() else {}
        yield place, row, base


@kind("tfds", lambda path: path.is_dir() and (path / "dataset_info.json").exists() and (path / "features.json").exists())
def _tfds(path: Path, unpacked: Path) -> Iterator[Row]:
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise InputError(f"{path}: reading it needs tensorflow-datasets; pip install 'jamflow-jax[tfds]'") from None
    import soundfile

    name = str(path).removeprefix("tfds:")
    try:
        builder = tfds.builder_from_directory(name) if Path(name).exists() else tfds.builder(name, file_format="array_record")
        features = builder.info.features
        column = next((key for key in ("audio", "speech", "sound") if key in features), None)
        stated = (builder.info.metadata or {}).get("sample_rate")
        rate = getattr(features[column] if column else None, "sample_rate", None) or stated
    except Exception as error:  # tfds has many
        raise InputError(f"{name}: no TFDS data set that can be read ({' '.join(str(error).split())[:200]})") from None
    if column is None or not rate:
        raise InputError(f"{name}: features {', '.join(features)}: an audio set has `audio` or `speech` with a sample rate")
    try:
        sources = {split: builder.as_data_source(split) for split in builder.info.splits}
        [source[0] for source in sources.values() if len(source)]  # whether they can be decoded
    except ModuleNotFoundError as error:  # tfds's own Audio feature
        raise InputError(f"{name}: decoding it needs {error.name} too; pip install {error.name}") from None
    except Exception as error:
        raise InputError(f"{name}: no random access ({' '.join(str(error).split())[:150]}); prepare it as array_record") from None
    folder = unpacked / f"{builder.info.name}-{_version(builder)}"
    splits = {"train": "train", "validation": "validation", "dev": "validation", "test": "test"}
    for split, source in sources.items():
        for number in range(len(source)):
            place = f"{builder.info.name} {split}[{number}]"
            target = folder / split / f"{number:07d}.flac"
            item = source[number]
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                samples_N = np.asarray(item[column])
                if samples_N.dtype.kind == "f":
                    samples_N = np.round(np.clip(samples_N, -1, 1) * 32767)
                partial = target.with_suffix(".partial")
                soundfile.write(partial, samples_N.astype(np.int16), int(rate), format="FLAC")
                partial.replace(target)
            row = {"id": f"{split}/{number:07d}", "audio": str(target.absolute())}
            row |= {"split": known} if (known := splits.get(split.split("_")[0].split("-")[0])) else {}
            row |= {field: said for field in ("text", "speaker") if (said := _words(item, field))}
            yield place, row, unpacked


def _version(builder) -> str:
    """A hash of the set as it lies there: what was unpacked of another one, or before a change, is not this one's sound."""
    files = sorted(str(file.absolute()) for file in builder.data_path.iterdir())
    return hashlib.sha256(repr((builder.info.full_name, [stamp(file) for file in files])).encode()).hexdigest()[:12]


def _words(item: dict, field: str) -> str | None:
    keys = {"text": ("text", "text_normalized", "transcript"), "speaker": ("speaker", "speaker_id")}[field]
    value = next((item[key] for key in keys if key in item), None)
    return value.decode() if isinstance(value, bytes) else str(value) if value is not None else None


def _files(path: Path, unpacked: Path, sorts: tuple[str, ...] = tuple(SORTS)) -> Iterator[Row]:
    root = path if path.is_dir() else path.parent
    found: dict[str, dict[str, str]] = {}
    blocked: list[tuple[str, Rejected]] = []
    second: list[tuple[str, Rejected]] = []  # of the same sort as another file of that name
    names = [path] if path.is_file() else sorted(_walk(root, blocked))
    for place, error in blocked:
        yield place, error, root
    for file in names:
        lower = file.name.lower()
        hit = next(((sort, ending) for sort in sorts for ending in SORTS[sort] if lower.endswith(ending)), None)
        if hit is None:
            continue
        sort, ending = hit
        inside = file.relative_to(root)
        clip = found.setdefault(str(inside)[: -len(ending)], {})
        if sort in clip:
            second.append((str(inside)[: -len(ending)], Rejected("duplicate id", f"{file}: {clip[sort]} is taken")))
        clip.setdefault(sort, str(inside))
    tracks = {f"{stem}{TRACK.removesuffix('.npz')}" for stem, fields in found.items() if "video" in fields}  # no clips of their own
    found = {stem: fields for stem, fields in found.items() if set(fields) != {"text"} and stem not in tracks}
    yield from ((stem, error, root) for stem, error in second if stem in found)
    for stem, fields in found.items():
        row = {"id": stem} | {sort: name for sort, name in fields.items() if sort != "text"}
        if len(Path(stem).parts) > 1:
            row["speaker"] = Path(stem).parts[0]
        if "text" in fields:
            try:
                if not (root / fields["text"]).is_file():  # a pipe would be waited for
                    raise OSError(0, "not a regular file")
                row["text"] = " ".join((root / fields["text"]).read_text(encoding="utf-8-sig").split())
            except (OSError, UnicodeDecodeError) as error:
                said = getattr(error, "strerror", None) or "not UTF-8 text"
                yield stem, Rejected("cannot be read", f"{root / fields['text']}: {said}"), root
                continue
        yield stem, row, root


def _walk(root: Path, blocked: list) -> Iterator[Path]:
    def refused(error: OSError) -> None:
        blocked.append((str(error.filename), Rejected("cannot be read", f"{error.filename}: {error.strerror}")))

    for folder, folders, files in os.walk(root, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in files if not name.startswith("."))


def _holds(*sorts: str) -> Callable[[Path], bool]:
    endings = tuple(ending for sort in sorts for ending in SORTS[sort])

    def fits(path: Path) -> bool:
        files = [path] if path.is_file() else _walk(path, [])
        return any(file.name.lower().endswith(endings) for file in files)

    return fits


def _only(*sorts: str):
    def some(path: Path, unpacked: Path) -> Iterator[Row]:
        return _files(path, unpacked, sorts)

    return some


kind("files", _holds("video", "audio", "motion"))(_only(*SORTS))
kind("videos")(_only("video", "text"))
kind("motion")(_only("motion", "text"))
kind("templates")(_only("motion"))
kind("sound")(_only("audio", "text"))


def _wrong(place: str, message: str) -> Rejected:
    return Rejected("bad line", f"{place}: {message}")
