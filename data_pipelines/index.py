"""The index of a data set: one row per clip, all that planning needs, in one `index.npz` (26 bytes a clip, plus its name).

    length   int32  valid mel frames          shard  int32  number of the shard file
    flags    uint8  AUDIO | MOTION | TEXT ... row    int32  row in it
    split    uint8  0 train 1 validation 2 test
    speaker  int32  position in `speakers`, -1 unknown
    names, name_ends  UTF-8 bytes of all ids on a string, and where each ends
    content  uint8 [shards, 32]  SHA-256 of every shard file

A clip's position in the index is its *global id*: what a plan hands out, and what randomness is derived from.

An opened index is mapped, not read: a column costs memory where it is touched, and worker processes share the pages. A plan
touches length, flags and split alone; these are checked against their CRC-32 when the index is opened, the rest by whoever
verifies the data set (a damaged row or name does not fit its record, which then counts as damaged).
"""
import dataclasses
import hashlib
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from jamflow_jax.errors import InputError

AUDIO, MOTION, TEXT, SPEECH = 1, 2, 4, 8
FLAGS = {"audio": AUDIO, "motion": MOTION, "text": TEXT, "speech": SPEECH}
SPLITS = ("train", "validation", "test")
_COLUMNS = {"length": np.int32, "flags": np.uint8, "split": np.uint8, "shard": np.int32, "row": np.int32,
            "speaker": np.int32}  # fmt: skip
_PLANNED = ("length", "flags", "split")
_BLOCK = 1 << 20  # clips worked on at once, so that temporary arrays stay small


class Clips:
    """What a plan needs of clips, in global-id order: of one data set (`Index`) or several (`Joined`)."""

    length: Int32[np.ndarray, "N"]
    flags: UInt8[np.ndarray, "N"]
    split: UInt8[np.ndarray, "N"]

    def __len__(self) -> int:
        return len(self.length)

    def id(self, i: int) -> str:
        """The clip's own name."""
        raise NotImplementedError

    def speaker_name(self, i: int) -> str | None:
        """Who speaks in clip i."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """SHA-256 of the names and order of the clips and the bytes of every shard."""
        raise NotImplementedError

    def ids(self) -> list[str]:
        """All names, in order."""
        return [self.id(i) for i in range(len(self))]

    def blocks(self) -> list[slice]:
        """All clips in slices of about a million, none of which crosses from one data set to the next."""
        return [slice(start, min(start + _BLOCK, len(self))) for start in range(0, len(self), _BLOCK)]

    def chosen(self, split: str, require: tuple[str, ...] = (), among: slice = slice(None)) -> np.ndarray:
        """bool: which clips are of a split and have everything in `require` ("audio", "motion", ...)."""
        if split not in SPLITS:
            raise InputError(f"split {split!r} is none of {', '.join(SPLITS)}")
        needed = sum(FLAGS[name] for name in set(require))
        return (self.split[among] == SPLITS.index(split)) & (self.flags[among] & needed == needed)

    def any(self, split: str, require: tuple[str, ...] = ()) -> bool:
        """Whether a split has a clip that has everything in `require`."""
        return any(self.chosen(split, require, block).any() for block in self.blocks())

    def select(self, split: str, require: tuple[str, ...] = ()) -> np.ndarray:
        """Global ids int64 of the clips of a split that have everything in `require`."""
        return np.flatnonzero(self.chosen(split, require))

    def has(self, flag: int) -> bool:
        """Whether any clip has it (AUDIO, MOTION, ...)."""
        return any((self.flags[block] & flag).any() for block in self.blocks())

    def seconds(self, split: str | None = None) -> float:
        """Hours are what people ask for: seconds of clips, of one split or all."""
        frames = 0
        for block in self.blocks():
            length = self.length[block]
            frames += int((length if split is None else length[self.split[block] == SPLITS.index(split)]).sum(dtype=np.int64))
        return frames * 256 / 24_000


@dataclasses.dataclass(eq=False)
class Index(Clips):
    """All columns of one data set."""

    length: Int32[np.ndarray, "N"]
    flags: UInt8[np.ndarray, "N"]
    split: UInt8[np.ndarray, "N"]
    shard: Int32[np.ndarray, "N"]
    row: Int32[np.ndarray, "N"]
    speaker: Int32[np.ndarray, "N"]
    speakers: list[str]
    names: np.ndarray  # uint8
    name_ends: np.ndarray  # int64 [N]
    content: np.ndarray  # uint8 [shards, 32]
    opened: tuple[str | Path, str | None] | None = dataclasses.field(default=None, init=False)  # what it was loaded with

    @classmethod
    def from_rows(cls, rows: list[dict], content: np.ndarray) -> "Index":
        """The index of `rows`: dicts of length, flags, split (a name), shard, row, speaker (a name or None), id."""
        speakers = sorted({row["speaker"] for row in rows if row["speaker"]})
        number = {name: i for i, name in enumerate(speakers)}
        encoded = [row["id"].encode() for row in rows]
        values = {
            "length": [row["length"] for row in rows],
            "flags": [row["flags"] for row in rows],
            "split": [SPLITS.index(row["split"]) for row in rows],
            "shard": [row["shard"] for row in rows],
            "row": [row["row"] for row in rows],
            "speaker": [number.get(row["speaker"], -1) for row in rows],
        }
        return cls(
            **{name: np.array(values[name], dtype) for name, dtype in _COLUMNS.items()},
            speakers=speakers,
            names=np.frombuffer(b"".join(encoded), np.uint8),
            name_ends=np.cumsum([len(name) for name in encoded], dtype=np.int64),
            content=content,
        )

    def save(self, path: str | Path) -> None:
        """Writes index.npz, in one rename (a file that is mapped must not change); equal indices give equal files."""
        partial = Path(path).with_name(f"{Path(path).name}.partial")
        with open(partial, "wb") as file:
            np.savez(file, **self._arrays())
        os.replace(partial, path)

    @classmethod
    def load(cls, directory: str | Path, fingerprint: str | None = None, check: bool = True) -> "Index":
        """The index of the data set in `directory`.

        Args:
          fingerprint: of the index as dataset.json states it; None computes it when asked for, from every byte.
          check: compare the columns of a plan with their checksums.

        Raises:
          InputError: when it is missing or unreadable.
        """
        path = Path(directory) / "index.npz"
        try:
            columns = _map(path, _PLANNED if check else ())
            speakers = json.loads(columns.pop("speakers").tobytes())
            index = cls(**columns, speakers=speakers)
        except Exception as error:
            raise InputError(f"{path}: no readable index ({error}); prepare the data set again") from error
        index.opened = directory, fingerprint
        return index

    def __reduce__(self):
        """A worker process maps the same file instead of being sent what is in it."""
        if self.opened:
            return Index.load, (*self.opened, False)
        return Index, tuple(getattr(self, field.name) for field in dataclasses.fields(self) if field.init)

    def fingerprint(self) -> str:
        if self.opened and self.opened[1]:
            return self.opened[1]
        digest = hashlib.sha256()
        for name, array in sorted(self._arrays().items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def id(self, i: int) -> str:
        start = int(self.name_ends[i - 1]) if i else 0
        return self.names[start : int(self.name_ends[i])].tobytes().decode()

    def speaker_name(self, i: int) -> str | None:
        return self.speakers[self.speaker[i]] if self.speaker[i] >= 0 else None

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: getattr(self, name) for name in (*_COLUMNS, "names", "name_ends", "content")}
        return arrays | {"speakers": np.frombuffer(json.dumps(self.speakers).encode(), np.uint8)}


class Joined(Clips):
    """Several indices as one, in order, for mixtures; clip i is clip i - starts[s] of part s."""

    def __init__(self, parts: list[Index]):
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])
        self.length, self.flags, self.split = (np.concatenate([getattr(part, name) for part in parts]) for name in _PLANNED)

    def __reduce__(self):
        return Joined, (self.parts,)

    def blocks(self) -> list[slice]:
        return [slice(start + block.start, start + block.stop)
                for start, part in zip(self.starts.tolist(), self.parts) for block in part.blocks()]  # fmt: skip

    def id(self, i: int) -> str:
        part, local = self.locate(i)
        return self.parts[part].id(local)

    def speaker_name(self, i: int) -> str | None:
        part, local = self.locate(i)
        return self.parts[part].speaker_name(local)

    def fingerprint(self) -> str:
        return hashlib.sha256(" ".join(part.fingerprint() for part in self.parts).encode()).hexdigest()

    def locate(self, i: int) -> tuple[int, int]:
        """Clip i's part and position there."""
        part = int(np.searchsorted(self.starts, i, side="right")) - 1
        return part, int(i - self.starts[part])


def join(indices: list[Index]) -> tuple[Clips, np.ndarray]:
    """Several indices as one, and the first global id of each (plus the total). A single one stays as it is."""
    if len(indices) == 1:
        return indices[0], np.array([0, len(indices[0])])
    joined = Joined(indices)
    return joined, joined.starts


def split_of(clip_id: str, validation: float, test: float) -> str:
    """The split a clip belongs to by a hash of its id, or its recording's: adding clips never moves the others."""
    u = int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8], "big") / 2**64
    return "test" if u < test else "validation" if u < test + validation else "train"


def _map(path: Path, check: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of an .npz as read-only maps; those named in `check` are read once, which compares their CRC-32."""
    arrays = {}
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"column {name} is compressed")
            if name in check:
                with archive.open(entry) as column:
                    while column.read(_BLOCK):
                        pass
            file.seek(entry.header_offset + 26)  # the local header may be longer than the directory's
            file.seek(entry.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))))
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if dtype.hasobject:
                raise ValueError(f"column {name} holds objects")
            full = np.prod(shape) > 0  # nothing cannot be mapped
            arrays[name] = np.memmap(file, dtype, "r", file.tell(), shape).view(np.ndarray) if full else np.empty(shape, dtype)
    return arrays
