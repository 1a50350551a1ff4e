"""Writes a data set directory from examples: shards, index, statistics, vocabulary, report; `dataset.json` last.

Everything is made in a hidden directory beside the target, which takes the target's name when it is complete: on failure or Ctrl-C
nothing remains, or, of a preparation that can go on, that hidden directory. Equal inputs give equal bytes, whatever the number of
workers: shard k holds examples [k S, (k + 1) S) of the input, those that were usable, and nothing depends on time or order of
completion.
"""
import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from data_pipelines.dataset import FORMAT
from data_pipelines.index import AUDIO, FLAGS, MOTION, SPLITS, Index
from data_pipelines.prepare.report import Rejected, Report
from data_pipelines.prepare.shards import DONE, Example, Settings, Shard, sweep, write_shard
from data_pipelines.record import Record
from jamflow_jax.errors import InputError
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer

__all__ = ["SHARD_EXAMPLES", "Checks", "Example", "build", "assemble", "directory"]

SHARD_EXAMPLES = 1024
LOCK = "lock"  # file in the hidden directory
SPEAKERS = 1000  # that report.json lists
BESIDE = ("index.npz", "vocab.txt", "statistics.json")  # files whose checksums stand in dataset.json beside the shards
POLICIES = ("off", "note", "reject")


@dataclasses.dataclass(frozen=True)
class Checks:
    """Over the whole set: "off", "note" (said in the report) or "reject" (left out of the index).

    Attributes:
      duplicates: clips whose sound (without sound: motion) equals an earlier one's, sample for sample after fitting.
      near_duplicates: clips that are the recording of an earlier one in another codec, loudness or cut, see `near`.
      offset: clips whose mouth runs ahead of their sound or behind, see `offset`.
    """

    duplicates: str = "off"
    near_duplicates: str = "off"
    offset: str = "off"


def build(
    examples: Iterable[Example],
    out: str | Path,
    space: MotionSpace,
    tokenizer: Tokenizer | None = None,
    *,
    validation: float = 0.05,
    test: float = 0.05,
    max_seconds: float = 30.0,
    crop: bool = False,
    keep_audio: bool = True,
    shard_examples: int = SHARD_EXAMPLES,
    overwrite: bool = False,
) -> Report:
    """Writes the data set `out`, in this process.

    Args:
      examples: of unique ids; read once, in order.
      tokenizer: None takes the characters of the examples' texts.
      validation, test: shares of the splits, for examples that name none.
      max_seconds, crop: longer clips are rejected, or cropped.
      keep_audio: keep the sound itself (FLAC), for evaluation and reports.

    Returns:
      The report; with `.exit_code` 1 (nothing usable) no data set was written.

    Raises:
      InputError: `out` is there already, or cannot be written.
    """
    report = Report()
    settings = Settings(space, tokenizer, validation, test, max_seconds, crop, keep_audio)
    texts: set[str] = set()
    with directory(out, overwrite) as partial:
        numbered = enumerate(_chunks(_distinct(examples, texts), shard_examples))
        shards = (write_shard(number, chunk, settings, partial / "shards") for number, chunk in numbered)
        assemble(partial, shards, settings, report, lambda: tokenizer or Tokenizer.from_texts(sorted(texts)))
    return report


@contextlib.contextmanager
def directory(out: str | Path, overwrite: bool, keep: bool = False) -> Iterator[Path]:
    """A hidden directory (with `shards/`) that becomes `out` if the block ends well with a dataset.json in it.

    With `keep`, what an earlier block left is there when the block begins, and stays when it fails. Raises InputError when `out`
    is there already, is being written by another process, or cannot be written.
    """
    out = Path(out).absolute()
    _refuse(out, overwrite)
    partial = out.with_name(f".{out.name}.partial")
    with contextlib.ExitStack() as held:
        ended = False
        try:
            held.enter_context(_alone(partial, out))
            _refuse(out, overwrite)  # another may have finished just now
            if not keep:
                _clear(partial)  # of a run that was killed
            (partial / "shards").mkdir(exist_ok=True)
            sweep(partial / "shards")
            held.callback(lambda: ended or not keep and shutil.rmtree(partial, ignore_errors=True))
            yield partial
            ended = True
            if (partial / "dataset.json").exists():
                shutil.rmtree(partial / DONE, ignore_errors=True)
                (partial / LOCK).unlink()
                old = out.with_name(f".{out.name}.old")
                if out.exists():
                    os.replace(out, old)
                os.replace(partial, out)
                shutil.rmtree(old, ignore_errors=True)
            else:
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            more = "; what is finished is kept, the same command goes on from it" if keep else ""
            raise InputError(f"{out}: cannot be written: {error.strerror or error}{more}") from error


def _refuse(out: Path, overwrite: bool) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not (out / "dataset.json").exists():
            raise InputError(f"{out}: is there and is no data set; choose another --out")
        if not overwrite:
            raise InputError(f"{out}: there is a data set already; choose another --out or give --overwrite")


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


@contextlib.contextmanager
def _alone(partial: Path, out: Path) -> Iterator[None]:
    """Makes `partial` and holds its lock, one of the system's, which ends with its process however that ends.

    Only who began a preparation holds it: workers, and machines of a Beam runner, need none.
    """
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        try:
            file = open(partial / LOCK, "a")
        except FileNotFoundError:  # the other one has finished and taken the folder away
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                said = "another jamflow prepare is writing it; wait until it has ended, or choose another --out"
                raise InputError(f"{out}: {said}") from None
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # a file system without locks
                    raise
            try:
                mine = os.path.samestat(os.fstat(file.fileno()), os.stat(partial / LOCK))
            except FileNotFoundError:
                mine = False
            if mine:
                yield
                return


def assemble(
    path: Path, shards: Iterable[Shard], settings: Settings, report: Report, tokenizer, checks: Checks = Checks()
) -> None:
    """Index, statistics, vocabulary, report and dataset.json of written shards, which must come in order.

    `tokenizer` is called when all shards are there. Without one usable clip nothing is written.
    """
    shards = list(_counted(shards, report, checks.duplicates))
    files = {name: digest for shard in shards for name, digest in shard.files.items()}
    for stray in (path / "shards").iterdir():
        if stray.name not in files:  # of a run that was killed, and had other clips
            stray.unlink()
    (path / "dataset.json").unlink(missing_ok=True)
    rows = [row for shard in shards for row in shard.rows]
    if checks.near_duplicates != "off":
        sketches = [sketch for shard in shards for sketch in shard.sketches]
        rows = _distinct_sounds(path, rows, sketches, settings.space, report, checks.near_duplicates)
    if checks.offset != "off":
        rows = _in_step(path, rows, settings.space, report, checks.offset)
    if not rows:
        return
    digests = [_digest(shard) for shard in shards]
    index = Index.from_rows(rows, np.stack(digests))
    widths = sorted(set().union(*(shard.speech_dims for shard in shards)))
    if len(widths) > 1:
        raise InputError(f"speech features of different widths: {', '.join(map(str, widths))}")
    splits = {split: {"clips": len(index.select(split)), "seconds": round(index.seconds(split), 3)} for split in SPLITS}
    report.totals |= {"splits": splits, "speakers": len(index.speakers), **_lengths(index)}
    vocabulary = tokenizer()
    index.save(path / "index.npz")
    vocabulary.to_file(path / "vocab.txt")
    write_json(path / "statistics.json", _statistics(path, index, settings.space).to_json())
    report.save(path / "report.json")
    meta = {
        "format": FORMAT,
        "clips": len(index),
        "seconds": round(index.seconds(), 3),
        "splits": splits,
        "with": {name: int((index.flags & flag > 0).sum()) for name, flag in FLAGS.items()},
        "longest": int(index.length.max()),
        "space": settings.space.to_json(),
        "tokenizer": vocabulary.kind,
        "vocab_size": vocabulary.vocab_size,
        "speech_dim": widths[0] if widths else 0,
        "audio": any(name.startswith("audio-") for name in files),
        "fingerprint": index.fingerprint(),
        "files": files,
        "checksums": {name: sha256(path / name) for name in BESIDE},
    }
    write_json(path / "dataset.json", meta)


def _lengths(index: Index) -> dict:
    """For report.json: how long clips are, and how much there is of the speakers there is most of."""
    seconds = np.asarray(index.length) * 256 / 24_000
    quantiles = {"shortest": 0, "tenth": 10, "median": 50, "ninetieth": 90, "longest": 100}
    by_speaker = np.bincount(np.asarray(index.speaker) + 1, weights=seconds, minlength=len(index.speakers) + 1)[1:]
    most = np.argsort(-by_speaker, kind="stable")[:SPEAKERS]
    return {
        "seconds": {name: round(float(np.percentile(seconds, q)), 3) for name, q in quantiles.items()},
        "seconds_by_speaker": {index.speakers[i]: round(float(by_speaker[i]), 3) for i in most},
    }


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content) -> None:
    """Indented JSON (`content` may be JSON text already), in one rename."""
    content = json.loads(content) if isinstance(content, str) else content
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    os.replace(partial, path)


def _statistics(path: Path, index: Index, space: MotionSpace) -> Statistics:
    """Of the train split's motion, read back from the shards in order; of all motion when that split has none."""
    chosen = index.select("train", ("motion",))
    if not len(chosen):
        chosen = np.flatnonzero(index.flags & MOTION)
    if not len(chosen):
        D = len(space.dims)
        return Statistics(mean=np.zeros(D), std=np.ones(D), live=np.ones(D, bool), count=0)

    def motions():
        for number in np.unique(index.shard[chosen]).tolist():
            reader = ArrayRecordReader(str(path / "shards" / f"data-{number:05d}.array_record"))
            for i in chosen[index.shard[chosen] == number]:
                yield Record.from_bytes(reader.read([int(index.row[i])])[0], len(space.dims)).motion
            reader.close()

    return Statistics.from_arrays(motions(), space.floor)


def _digest(shard: Shard) -> np.ndarray:
    """One SHA-256 for all files of a shard; zeros for none."""
    if not shard.files:
        return np.zeros(32, np.uint8)
    return np.frombuffer(hashlib.sha256(json.dumps(shard.files, sort_keys=True).encode()).digest(), np.uint8)


def _counted(shards: Iterable[Shard], report: Report, duplicates: str) -> Iterator[Shard]:
    first: dict[str, str] = {}
    for shard in shards:
        for clip_id, error in shard.rejected:
            report.reject(clip_id, error)
        kept, sketches = [], []
        for row, notes, digest, sketch in zip(shard.rows, shard.notes, shard.digests, shard.sketches):
            same = first.setdefault(digest, row["id"]) if duplicates != "off" else row["id"]
            if same != row["id"]:
                if duplicates == "reject":
                    report.reject(row["id"], Rejected("duplicate", f"{row['id']}: the same as {same}"))
                    continue
                notes, sketch = (*notes, f"duplicate: the same as {same}"), ""  # and not a near one too
            report.accept(row["id"], notes)
            kept.append(row)
            sketches.append(sketch)
        yield dataclasses.replace(shard, rows=kept, sketches=sketches)


def _distinct_sounds(
    path: Path, rows: list[dict], sketches: list[str], space: MotionSpace, report: Report, policy: str
) -> list[dict]:
    """The rows, near-duplicates of earlier ones noted or left out."""
    from data_pipelines.prepare.near import near_duplicates

    record = _records(path, space)
    found = near_duplicates(sketches, lambda i: record(rows[i]).mel)
    said = {rows[later]["id"]: f"sounds as {rows[earlier]['id']} does" for later, earlier in found.items()}
    return _judged(rows, said, "near-duplicate", report, policy)


def _in_step(path: Path, rows: list[dict], space: MotionSpace, report: Report, policy: str) -> list[dict]:
    """The rows, those out of step noted or left out; the figures go into the report."""
    from data_pipelines.prepare.offset import check

    result = check([row for row in rows if row["flags"] & MOTION and row["flags"] & AUDIO], _records(path, space), space)
    report.totals["offset"] = result.summary
    return _judged(rows, result.out_of_step, "offset" if policy == "note" else "out of step", report, policy)


def _judged(rows: list[dict], said: dict[str, str], kind: str, report: Report, policy: str) -> list[dict]:
    """The rows, after "note" all of them, after "reject" those of which nothing is said; in the report either way."""
    if policy == "note":
        report.notes += [{"id": clip, "note": f"{kind}: {words}"} for clip, words in said.items()]
        return rows
    report.accepted -= len(said)
    report.notes = [note for note in report.notes if note["id"] not in said]
    for clip, words in said.items():
        report.reject(clip, Rejected(kind, f"{clip}: {words}"))
    return [row for row in rows if row["id"] not in said]


def _records(path: Path, space: MotionSpace) -> Callable[[dict], Record]:
    """A reader of rows' records that keeps one shard open."""
    readers: dict[int, ArrayRecordReader] = {}

    def record(row: dict) -> Record:
        reader = readers.get(row["shard"])
        if reader is None:
            readers.clear()  # rows come shard by shard
            name = f"data-{row['shard']:05d}.array_record"
            reader = readers.setdefault(row["shard"], ArrayRecordReader(str(path / "shards" / name)))
        return Record.from_bytes(reader.read([row["row"]])[0], len(space.dims))

    return record


def _distinct(examples: Iterable[Example], texts: set[str]) -> Iterator[Example | tuple[str, InputError]]:
    """The examples, those of an id already seen as errors; collects the characters of their texts."""
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            yield example.id, Rejected("duplicate id", f"{example.id}: the id is taken by an earlier example")
            continue
        seen.add(example.id)
        texts.update(example.text or "")
        yield example


def _chunks(items: Iterable, size: int) -> Iterator[Iterator]:
    """Runs of `size` items; each must be used up before the next."""
    iterator = iter(items)
    for first in iterator:
        yield itertools.chain([first], itertools.islice(iterator, size - 1))
