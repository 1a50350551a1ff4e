"""A prepared data set opened for reading, and a corpus: one or several of them read as one, in one motion space.

    DIR/dataset.json      format number, motion space, tokenizer, counts; written last: without it there is no data set
    DIR/vocab.txt         one token a line
    DIR/statistics.json   mean and standard deviation of every motion dimension, over the train split
    DIR/index.npz         `index.Index`
    DIR/shards/           data-, audio- and speech-00000.array_record: `record.Record` and its sibling columns
    DIR/report.json       what was rejected or changed while preparing, and why
"""
import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from data_pipelines import remote
from data_pipelines.index import AUDIO, MOTION, SPEECH, TEXT, Index, join
from data_pipelines.record import Record, decode_audio, decode_speech
from jamflow_jax.errors import InputError
from jamflow_jax.motion import convert
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer

FORMAT = 1
READERS = 128  # shards of a data set kept open: there may be more of them than a process may open files
RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"  # rows are read one by one, in threads of ours: half the CPU time
STATISTICS_CLIPS = 2_000  # of another space, read for the statistics of a conversion at load


class DataSet:
    """One data set directory. Reads lazily; safe to share between threads, and to send to worker processes.

    Raises:
      InputError: no data set there, or of a format this version does not know.
    """

    def __init__(self, directory: str | Path):
        try:
            self.path, self.address = remote.opened(directory)
        except OSError as error:
            raise InputError(f"{directory}: no data set that can be read ({error.strerror})") from None
        try:
            meta = json.loads((self.path / "dataset.json").read_text())
        except FileNotFoundError:
            raise InputError(f"{self.path}: no data set (dataset.json is missing); make one with `jamflow prepare`") from None
        except ValueError as error:
            raise InputError(f"{self.path}/dataset.json: {error}") from None
        found = meta.get("format") if isinstance(meta, dict) else None
        if found != FORMAT:
            raise InputError(f"{self.path}: data format {found}, this version reads {FORMAT}; prepare it again")
        self.meta = meta
        self.index = Index.load(self.path, meta.get("fingerprint"))
        try:
            self.space = MotionSpace.from_json(meta["space"])
            self.speech_dim: int = meta["speech_dim"]
            self.tokenizer = Tokenizer.from_file(self.path / "vocab.txt", kind=meta["tokenizer"])
            self.statistics = Statistics.from_json((self.path / "statistics.json").read_text())
            self.statistics.mouth(self.space)  # they fit one another
        except (InputError, KeyError, OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self.path}: dataset.json, vocab.txt or statistics.json is damaged ({error}); prepare the data set again"
            ) from None
        self._reader = _readers(self.path, self.address)

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self):  # readers hold open files
        return {name: value for name, value in self.__dict__.items() if name != "_reader"}

    def __setstate__(self, state):
        self.__dict__ = {**state, "_reader": _readers(state["path"], state["address"])}

    def record(self, i: int, speech: bool = False) -> Record:
        """Clip i. Raises InputError naming shard and row when its bytes are damaged."""
        try:
            record = Record.from_bytes(self._row("data", i), len(self.space.dims))
            if record.id != self.index.id(i) or record.length != self.index.length[i]:
                raise InputError(f"holds clip {record.id} of {record.length} frames")
            for name, flag, array in (("sound", AUDIO, record.mel), ("motion", MOTION, record.motion)):
                if (array is not None) != bool(self.index.flags[i] & flag):
                    raise InputError(f"the index and the record do not agree on whether there is {name}")
            if speech and self.index.flags[i] & SPEECH:
                record = dataclasses.replace(record, speech=decode_speech(self._row("speech", i), self.speech_dim))
                record.check()
        except Exception as error:  # IndexError, RuntimeError (riegeli's checksums), InputError
            place = f"{self.path}/shards/data-{self.index.shard[i]:05d}.array_record row {self.index.row[i]}"
            raise InputError(f"{place} ({self.index.id(i)}): damaged: {error}") from error
        return record

    def audio(self, i: int) -> np.ndarray | None:
        """Samples of clip i, 24 kHz in [-1, 1]; None when it has none or the data set was made with --no-audio."""
        return decode_audio(self._row("audio", i)) if self.meta["audio"] else None

    def _row(self, column: str, i: int) -> bytes:
        return self._reader(column, int(self.index.shard[i])).read([int(self.index.row[i])])[0]


def _readers(folder: Path, address: str | None) -> Callable[[str, int], ArrayRecordReader]:
    """(column, shard) -> its reader; those longest unused are closed. A shard at an address is copied when it is first read."""

    @functools.lru_cache(READERS)
    def reader(column: str, shard: int) -> ArrayRecordReader:
        name = f"shards/{column}-{shard:05d}.array_record"
        path = remote.fetch(address, folder, name) if address else folder / name
        if not path.exists():  # the reader itself would only find no rows
            raise InputError(f"{path} is missing")
        return ArrayRecordReader(str(path), RANDOM_ACCESS)

    return reader


class Corpus:
    """Data sets read as one: ids, speakers and splits joined, motion in one space, one vocabulary, pooled statistics.

    Args:
      paths: data set directories, or one.
      space: the motion space to read motion in; by default that of the first data set with motion. Data in another space
        goes through a registered converter.

    Raises:
      InputError: a data set in a space without a converter to `space`; tokenizers of different kinds.
    """

    def __init__(self, paths: Sequence[str | Path] | str | Path, space: MotionSpace | None = None):
        paths = [paths] if isinstance(paths, str | Path) else paths
        self.sets = [DataSet(path) for path in paths]
        self.index, self.starts = join([data.index for data in self.sets])
        moving = [data for data in self.sets if data.index.has(MOTION)]
        self.space = space or (moving or self.sets)[0].space
        for data in moving:
            try:
                convert.converter(data.space, self.space)
            except InputError as error:
                raise InputError(f"{data.path}: {error}; prepare it again with --space {self.space.name}") from None
        self.statistics = pool([self._statistics(data) for data in moving or self.sets[:1]])
        self.tokenizer = self._tokenizer()
        self.speech_dim = self.sets[0].speech_dim

    def __len__(self) -> int:
        return len(self.index)

    def record(self, i: int, speech: bool = False) -> Record:
        """Clip i (a global id), its motion in the corpus's space. Raises InputError when damaged."""
        data, local = self._locate(i)
        record = data.record(local, speech)
        return self._converted(data, record)

    def audio(self, i: int) -> np.ndarray | None:
        """Samples of clip i at 24 kHz, or None."""
        data, local = self._locate(i)
        return data.audio(local)

    def _locate(self, i: int) -> tuple[DataSet, int]:
        s = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.sets[s], int(i - self.starts[s])

    def _converted(self, data: DataSet, record: Record) -> Record:
        if record.motion is None or data.space.dims == self.space.dims:
            return record
        motion = convert.convert(record.motion, data.space, self.space)
        return dataclasses.replace(record, motion=np.asarray(motion, np.float32))

    def _statistics(self, data: DataSet) -> Statistics:
        if data.space.dims == self.space.dims or not data.index.has(MOTION):
            return data.statistics
        chosen = data.index.select("train", ("motion",))
        chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), STATISTICS_CLIPS)).astype(int)]
        motions = (self._converted(data, data.record(i)).motion for i in chosen)
        return Statistics.from_arrays(motions, self.space.floor)

    def _tokenizer(self) -> Tokenizer:
        speaking = [data.tokenizer for data in self.sets if data.index.has(TEXT)]
        first = speaking[0] if speaking else self.sets[0].tokenizer
        if len({tokenizer.kind for tokenizer in speaking}) > 1:
            raise InputError(f"data sets with tokenizers {[t.kind for t in speaking]} do not mix; prepare them with one")
        vocab = list(dict.fromkeys(token for tokenizer in speaking for token in tokenizer.vocab))
        return first if len(vocab) <= len(first.vocab) else Tokenizer(first.kind, vocab)


def pool(parts: list[Statistics]) -> Statistics:
    """Statistics of the union: mean = sum n m / N, var = sum n (s^2 + (m - mean)^2) / N."""
    parts = [part for part in parts if part.count] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    total = sum(part.count for part in parts)
    mean_D = sum(part.mean * (part.count / total) for part in parts)
    var_D = sum((part.std**2 + (part.mean - mean_D) ** 2) * (part.count / total) for part in parts)
    live_D = np.any([part.live for part in parts], axis=0)
    return dataclasses.replace(parts[0], mean=mean_D, std=np.sqrt(var_D), live=live_D, count=total)
