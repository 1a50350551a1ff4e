"""The plan: (seed, step) -> a bucket and global example ids, a pure function of the index, O(1) per step.

A *bucket* is a static length T and a modality mix (sound and motion, sound only, motion only): n clips, batches of B. Its
clips form an endless sequence of epochs, position p being clip pi_{p div n}(p mod n), with pi_e a keyed permutation of
[0, n); its batch c takes positions [c B, (c + 1) B). Nothing is dropped at the end of an epoch; where n < B, clips repeat
within the batch. By the end of epoch e all buckets have made

    C_k(e + 1) batches,  C_k(e) = ceil(e n_k / B_k),  hence S(e) = sum_k C_k(e) steps begin epoch e:

every clip is seen at least e times in S(e) steps, and every bucket runs exactly in proportion to its clips. Inside an epoch
the batches of all buckets come in the order of one more keyed permutation. Both are Feistel ciphers with cycle walking: any
position costs a few multiplications, so a restart at step 10^6 is as quick as a start.

In a mixture, data set s enters every bucket with round(w_s n_s) virtual clips an epoch, filled without replacement from an
inner endless sequence of its n_s clips.
"""
import bisect
import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int32, Int64

from data_pipelines.buckets import ALIGN, check, optimal_edges
from data_pipelines.index import Clips
from data_pipelines.sorting import MIXES, needed_lengths, sort
from jamflow_jax.errors import ConfigError, InputError

_ORDER, _CLIPS, _SOURCE = range(3)  # domains of keys


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Clips of one static shape."""

    frames: int  # T, mel frames
    mix: int  # AUDIO | MOTION flags
    batch: int  # B
    ids: Int32[np.ndarray, "n"]  # global ids of its clips, one data set of a mixture after the other
    sizes: tuple[int, ...]  # clips of each data set
    virtual: tuple[int, ...]  # clips an epoch of each
    valid: tuple[int, ...]  # mel frames of each, without padding

    @functools.cached_property
    def members(self) -> tuple[np.ndarray, ...]:
        """The ids of each data set."""
        return tuple(np.split(self.ids, np.cumsum(self.sizes)[:-1]))

    @property
    def clips(self) -> int:
        """Clips in an epoch."""
        return sum(self.virtual)

    @property
    def padding(self) -> float:
        """Share of an epoch's frames that are padding."""
        seen = sum(valid * v / n for valid, v, n in zip(self.valid, self.virtual, self.sizes) if v)
        return 1 - seen / (self.clips * self.frames)

    def batches_before(self, epoch: int) -> int:
        """C_k(epoch)."""
        return -(-epoch * self.clips // self.batch)


class Plan:
    """Which clips make the batch of a step.

    Args:
      index: of the data set, or joined indices of several.
      buckets: static lengths T in mel frames; or how many there may be for each mix, which are then chosen to pad least
        (`buckets.py`), over the clips of all splits: held-out clips fit too.
      batch_frames: mel frames of a global batch; bucket T holds min(max_batch, batch_frames // T) clips.
      multiple: batch sizes are rounded down to a multiple of this (devices x accumulation).
      crop: clips longer than the largest bucket go there, to be cropped; otherwise they are an error. Chosen buckets are no
        larger than a batch can hold.
      require: only clips that have these, e.g. ("motion",).
      starts, weights: of the data sets in a joined index (`index.join`); a weight is how often a clip is seen per epoch.
      align: chosen lengths are multiples of this.

    Raises:
      ConfigError: a bucket's batch would be smaller than `multiple`; lengths or weights make no sense.
      InputError: no clip in the split, or a clip too long.
    """

    def __init__(
        self,
        index: Clips,
        buckets: int | tuple[int, ...],
        batch_frames: int,
        max_batch: int = 64,
        seed: int = 0,
        split: str = "train",
        multiple: int = 1,
        crop: bool = False,
        require: tuple[str, ...] = (),
        starts: np.ndarray | None = None,
        weights: tuple[float, ...] | None = None,
        align: int = ALIGN,
    ):
        check(buckets, align)
        starts = np.array([0, len(index)]) if starts is None else np.asarray(starts)
        weights = (1.0,) * (len(starts) - 1) if weights is None else tuple(weights)
        if len(weights) != len(starts) - 1 or not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise ConfigError(f"weights {weights}: one positive number for each of the {len(starts) - 1} data sets")
        self.seed, self.split, self.crop, self.require = seed % 2**63, split, crop, require
        self.index = index
        self._arguments = dict(
            buckets=buckets, batch_frames=batch_frames, max_batch=max_batch, seed=seed, multiple=multiple, crop=crop,
            require=require, starts=starts, weights=weights, align=align,
        )  # fmt: skip
        if not index.any(split, require):
            having = f" with {' and '.join(require)}" if require else ""
            raise InputError(f"the data set has no clip{having} in its {split} split")
        if isinstance(buckets, int):
            largest = max(1, batch_frames // multiple // align) if crop else None
            needed = needed_lengths(index, require, starts, weights, align, largest)
            edges = [optimal_edges(clips, buckets, align) for clips in needed]
        else:
            edges = [tuple(sorted(set(buckets)))] * len(MIXES)
        order, counts, valid = sort(index, split, require, starts, edges, crop)
        self.buckets: list[Bucket] = []
        first = 0
        for k, (mix, frames) in enumerate((mix, frames) for mix, row in zip(MIXES, edges) for frames in row):
            if not any(sizes := tuple(counts[k].tolist())):
                continue
            ids = order[first : first + sum(sizes)]
            first += len(ids)
            virtual = tuple(max(1, round(w * n)) if n else 0 for w, n in zip(weights, sizes))
            batch = batch_size(frames, batch_frames, max_batch, multiple)
            self.buckets.append(Bucket(frames, mix, batch, ids, sizes, virtual, tuple(valid[k].tolist())))

    def __reduce__(self):
        """A worker process makes its own: that is quicker than sending 4 bytes a clip, and the index is mapped, not sent."""
        return functools.partial(Plan, self.index, split=self.split, **self._arguments), ()

    def batch(self, step: int) -> tuple[int, Int64[np.ndarray, "B"]]:
        """(T, global ids) of optimiser or micro step `step`, from 0."""
        epoch = self.epoch(step)
        before = [bucket.batches_before(epoch) for bucket in self.buckets]
        ends = np.cumsum([b.batches_before(epoch + 1) - c for b, c in zip(self.buckets, before)])
        slot = int(permute(np.array([step - sum(before)]), int(ends[-1]), (self.seed, _ORDER, epoch))[0])
        k = int(np.searchsorted(ends, slot, side="right"))
        bucket = self.buckets[k]
        count = before[k] + slot - (int(ends[k - 1]) if k else 0)
        return bucket.frames, self._clips(bucket, np.arange(count * bucket.batch, (count + 1) * bucket.batch))

    def epoch(self, step: int) -> int:
        """The epoch e with S(e) <= step < S(e + 1)."""
        if step < 0:
            raise ValueError(f"step {step} is negative")
        high = 1
        while self.epoch_start(high) <= step:
            high *= 2
        return bisect.bisect_right(range(high), step, key=self.epoch_start) - 1

    def epoch_start(self, epoch: int) -> int:
        """S(epoch), the first step of an epoch."""
        return sum(bucket.batches_before(epoch) for bucket in self.buckets)

    def _clips(self, bucket: Bucket, positions: np.ndarray) -> np.ndarray:
        """Global ids at positions of the bucket's endless sequence."""
        ids = np.empty(len(positions), np.int64)
        firsts = np.cumsum([0, *bucket.virtual])
        epochs = positions // bucket.clips
        for epoch in np.unique(epochs).tolist():
            here = np.flatnonzero(epochs == epoch)
            key = (self.seed, _CLIPS, epoch, bucket.frames, bucket.mix)
            virtual = permute(positions[here] % bucket.clips, bucket.clips, key)
            source = np.searchsorted(firsts, virtual, side="right") - 1
            for s in np.unique(source).tolist():
                inner = virtual[source == s] - firsts[s]
                members, share = bucket.members[s], bucket.virtual[s]
                if share != len(members):  # a weight: inner sequence without replacement
                    inner = self._inner(epoch * share + inner, len(members), (bucket.frames, bucket.mix, s))
                ids[here[source == s]] = members[inner]
        return ids

    def _inner(self, positions: np.ndarray, n: int, key: tuple[int, ...]) -> np.ndarray:
        rounds = positions // n
        out = np.empty_like(positions)
        for number in np.unique(rounds).tolist():
            here = rounds == number
            out[here] = permute(positions[here] % n, n, (self.seed, _SOURCE, number, *key))
        return out

    @functools.cached_property
    def clips(self) -> int:
        """Distinct clips in all buckets."""
        return sum(len(bucket.ids) for bucket in self.buckets)

    def of_split(self, split: str) -> "Plan":
        """The same plan over another split of its index. Raises InputError when that split is empty."""
        return Plan(self.index, split=split, **self._arguments)

    def fixed(self, batches: int | None = None) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(T, ids [B], weight [B]) covering the split in order, bucket by bucket; the last of a bucket is filled up with
        repeats of weight 0. With `batches`, that many spread evenly over the whole. For evaluation: seed and step play no
        part."""
        ends = np.cumsum([-(-len(bucket.ids) // bucket.batch) for bucket in self.buckets]).tolist()
        count = ends[-1] if batches is None else min(batches, ends[-1])
        for number in (i * ends[-1] // count for i in range(count)):
            k = bisect.bisect_right(ends, number)
            bucket, start = self.buckets[k], number - (ends[k - 1] if k else 0)
            ids = bucket.ids[start * bucket.batch :][: bucket.batch].astype(np.int64)
            weight = (np.arange(bucket.batch) < len(ids)).astype(np.float32)
            yield bucket.frames, np.resize(ids, bucket.batch), weight

    def fingerprint(self) -> str:
        """SHA-256 of all that decides the batches: a run resumes only under the same one."""
        shapes = [(b.frames, b.mix, b.batch, b.virtual, *b.sizes) for b in self.buckets]
        text = f"{self.index.fingerprint()} {self.seed} {self.split} {self.crop} {shapes}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The distinct (T, B), for compiling ahead."""
        return sorted({(bucket.frames, bucket.batch) for bucket in self.buckets})

    @property
    def padding(self) -> float:
        """Share of an epoch's frames that are padding."""
        frames = [bucket.clips * bucket.frames for bucket in self.buckets]
        return sum(bucket.padding * n for bucket, n in zip(self.buckets, frames)) / sum(frames)

    def describe(self) -> str:
        """One line per bucket: shape, clips, share of padding; then the share over all."""
        lines = [f"{bucket.frames:5d} frames x {bucket.batch:4d}  {len(bucket.ids):8d} clips  "
                 f"{bucket.padding:4.0%} padding  {MIXES[bucket.mix]}" for bucket in self.buckets]  # fmt: skip
        return "\n".join([*lines, f"{len(lines)} buckets, {self.padding:.1%} padding over all"])


def permute(i: np.ndarray, n: int, key: tuple[int, ...]) -> np.ndarray:
    """pi(i) of a keyed permutation pi of [0, n): a Feistel network on the next power of four, walked until inside."""
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    shift = np.uint64(half)
    keys = np.random.SeedSequence(key).generate_state(6, np.uint64)
    out = np.asarray(i).astype(np.uint64)
    todo = np.arange(len(out))
    while len(todo):
        left, right = out[todo] >> shift, out[todo] & mask
        for round_key in keys:
            left, right = right, left ^ (_mix(right ^ round_key) & mask)
        out[todo] = (left << shift) | right
        todo = todo[out[todo] >= n]
    return out.astype(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def batch_size(frames: int, batch_frames: int, max_batch: int, multiple: int) -> int:
    """Clips in a batch of a bucket. Raises ConfigError when it would be less than `multiple`."""
    batch = min(max_batch, batch_frames // frames) // multiple * multiple
    if batch < 1:
        raise ConfigError(
            f"a batch of bucket {frames} would hold {min(max_batch, batch_frames // frames)} clips, but devices (times "
            f"accumulation) need {multiple}: raise data.batch_frames ({batch_frames}) or data.max_batch ({max_batch}), or lower "
            f"the largest of data.buckets (where that is a number: set data.crop)"
        )
    return batch
