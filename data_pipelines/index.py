"""The index of a data set: one row per clip, all that planning needs, in one `index.npz` (18 bytes a clip, plus its name).

    length   int32  valid mel frames          shard  int32  number of the shard file
    flags    uint8  AUDIO | MOTION | TEXT ... row    int32  row in it
    split    uint8  0 train 1 validation 2 test
    speaker  int32  position in `speakers`, -1 unknown
    names, name_ends  UTF-8 bytes of all ids on a string, and where each ends (read on demand)
    content  uint8 [shards, 32]  SHA-256 of every shard file

A clip's position in the index is its *global id*: what a plan hands out, and what randomness is derived from.
"""
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from jamflow_jax.errors import InputError

AUDIO, MOTION, TEXT, SPEECH = 1, 2, 4, 8
FLAGS = {"audio": AUDIO, "motion": MOTION, "text": TEXT, "speech": SPEECH}
SPLITS = ("train", "validation", "test")
_COLUMNS = {"length": np.int32, "flags": np.uint8, "split": np.uint8, "shard": np.int32, "row": np.int32,
            "speaker": np.int32}  # fmt: skip


@dataclasses.dataclass
class Index:
    """Columns of all clips of one data set (or of several, joined), in global-id order."""

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

    def __len__(self) -> int:
        return len(self.length)

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
        """Writes index.npz; equal indices give equal files."""
        with open(path, "wb") as file:
            np.savez(file, **self._arrays())

    @classmethod
    def load(cls, directory: str | Path) -> "Index":
        """The index of the data set in `directory`.

        Raises:
          InputError: when it is missing or unreadable.
        """
        path = Path(directory) / "index.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                columns = {name: arrays[name] for name in arrays.files}
            speakers = json.loads(columns.pop("speakers").tobytes())
            return cls(**columns, speakers=speakers)
        except Exception as error:
            raise InputError(f"{path}: no readable index ({error}); prepare the data set again") from error

    def fingerprint(self) -> str:
        """SHA-256 of everything: the names and order of the clips, and the bytes of every shard."""
        digest = hashlib.sha256()
        for name, array in sorted(self._arrays().items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def id(self, i: int) -> str:
        """The clip's own name."""
        start = int(self.name_ends[i - 1]) if i else 0
        return self.names[start : int(self.name_ends[i])].tobytes().decode()

    def ids(self) -> list[str]:
        """All names, in order."""
        return [self.id(i) for i in range(len(self))]

    def speaker_name(self, i: int) -> str | None:
        """Who speaks in clip i."""
        return self.speakers[self.speaker[i]] if self.speaker[i] >= 0 else None

    def select(self, split: str, require: tuple[str, ...] = ()) -> np.ndarray:
        """Global ids int64 of the clips of a split that have everything in `require` ("audio", "motion", ...)."""
        if split not in SPLITS:
            raise InputError(f"split {split!r} is none of {', '.join(SPLITS)}")
        needed = sum(FLAGS[name] for name in set(require))
        return np.flatnonzero((self.split == SPLITS.index(split)) & (self.flags & needed == needed))

    def seconds(self, split: str | None = None) -> float:
        """Hours are what people ask for: seconds of clips, of one split or all."""
        chosen = self.length if split is None else self.length[self.split == SPLITS.index(split)]
        return float(chosen.sum(dtype=np.int64)) * 256 / 24_000

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: getattr(self, name) for name in (*_COLUMNS, "names", "name_ends", "content")}
        return arrays | {"speakers": np.frombuffer(json.dumps(self.speakers).encode(), np.uint8)}


def join(indices: list[Index]) -> tuple[Index, np.ndarray]:
    """Several indices as one, in order, and the first global id of each (plus the total): for mixtures.

    `shard` keeps the numbers of the clip's own data set.
    """
    starts = np.concatenate([[0], np.cumsum([len(index) for index in indices])]).astype(np.int64)
    if len(indices) == 1:
        return indices[0], starts
    speakers: list[str] = []
    numbers, ends, offset = [], [], 0
    for index in indices:
        numbers.append(np.where(index.speaker >= 0, index.speaker + len(speakers), -1).astype(np.int32))
        ends.append(index.name_ends + offset)
        speakers, offset = speakers + index.speakers, offset + len(index.names)
    columns = {name: np.concatenate([getattr(index, name) for index in indices]) for name in (*_COLUMNS, "names")}
    columns |= {"speaker": np.concatenate(numbers), "name_ends": np.concatenate(ends)}
    return Index(**columns, speakers=speakers, content=np.concatenate([index.content for index in indices])), starts


def split_of(clip_id: str, validation: float, test: float) -> str:
    """The split a clip belongs to by a hash of its id: adding clips never moves the others."""
    u = int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8], "big") / 2**64
    return "test" if u < test else "validation" if u < test + validation else "train"
