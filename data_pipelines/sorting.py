"""The clips of an index into buckets: a counting sort of global ids by (mix, length, data set), a block of clips at a time.

It takes two passes: one counts the clips of every bucket, which says where each begins in the sorted ids; one puts ids there.
Columns of the index are touched in blocks, so that 40 million clips need little more memory than their sorted ids, 4 bytes each,
and buckets are slices of one array. Ids of one bucket and data set stay in ascending order.
"""
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64, Int32, Int64

from data_pipelines.buckets import on_grid
from data_pipelines.index import AUDIO, FLAGS, MOTION, Clips
from jamflow_jax.errors import InputError

MIXES = {AUDIO | MOTION: "sound and motion", AUDIO: "sound only", MOTION: "motion only"}
_MIX = AUDIO | MOTION


def needed_lengths(
    index: Clips, require: tuple[str, ...], starts: np.ndarray, weights: Sequence[float], align: int, largest: int | None
) -> list[Float64[np.ndarray, "points"]]:
    """For each mix, how many clips (of all splits, times their data set's weight) need g * `align` frames, g = 0, 1, ...

    Clips that need more than `largest` points count there; None: no limit.
    """
    sums = [np.zeros(0) for _ in MIXES]
    needed = sum(FLAGS[name] for name in set(require))
    for block in index.blocks():
        points = on_grid(index.length[block], align)
        points = points if largest is None else np.minimum(points, largest)
        flags, weight = index.flags[block], weights[_source(starts, block)]
        for number, mix in enumerate(MIXES):
            clips = np.bincount(points[(flags & _MIX == mix) & (flags & needed == needed)])
            if len(clips) > len(sums[number]):
                sums[number] = np.pad(sums[number], (0, len(clips) - len(sums[number])))
            sums[number][: len(clips)] += weight * clips
    return sums


def sort(
    index: Clips, split: str, require: tuple[str, ...], starts: np.ndarray, edges: Sequence[tuple[int, ...]], crop: bool
) -> tuple[Int32[np.ndarray, "clips"], Int64[np.ndarray, "buckets sets"], Int64[np.ndarray, "buckets sets"]]:
    """(global ids in order of bucket and data set, clips of each, their mel frames without padding).

    Buckets are those of the first mix, then those of the next, each with the lengths of `edges` (ascending). A clip is in the
    shortest that holds it, or in the longest.

    Raises:
      InputError: without `crop`, a clip longer than the largest bucket.
    """
    frames = np.array([length for row in edges for length in row])
    table = _table(edges)
    counts, valid = (np.zeros((len(frames), len(starts) - 1), np.int64) for _ in range(2))
    over, longest = 0, (0, 0, 0)  # length, id, bucket
    for source, ids, length, bucket in _blocks(index, split, require, starts, table):
        counts[:, source] += np.bincount(bucket, minlength=len(frames))
        valid[:, source] += np.bincount(bucket, np.minimum(length, frames[bucket]), len(frames)).astype(np.int64)
        beyond = np.flatnonzero(length > frames[bucket])
        if len(beyond):
            over, worst = over + len(beyond), beyond[length[beyond].argmax()]
            longest = max(longest, (int(length[worst]), -int(ids[worst]), int(frames[bucket[worst]])))
    if over and not crop:
        raise InputError(
            f"{over} clips of the {split} split are longer than the largest bucket of {longest[2]} mel frames (the longest, "
            f"{index.id(-longest[1])}: {longest[0]}); set data.crop, or add a bucket to data.buckets"
        )
    order = np.empty(int(counts.sum()), np.int32)
    free = (np.cumsum(counts) - counts.ravel()).reshape(counts.shape)
    for source, ids, _, bucket in _blocks(index, split, require, starts, table):
        by_bucket = np.argsort(bucket, kind="stable")  # of 16 bits: a radix sort
        here = np.bincount(bucket)
        for k, some in zip(np.flatnonzero(here).tolist(), np.split(by_bucket, np.cumsum(here[here > 0])[:-1])):
            order[free[k, source] :][: len(some)] = ids[some]
            free[k, source] += len(some)
    return order, counts, valid


def _blocks(index: Clips, split, require, starts, table) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """(data set, global ids, lengths, buckets int16) of the clips of a split, a block at a time."""
    for block in index.blocks():
        flags = index.flags[block]
        chosen = np.flatnonzero(index.chosen(split, require, block) & (flags & _MIX > 0))
        length = index.length[block][chosen]
        bucket = table[flags[chosen] & _MIX, np.minimum(length, table.shape[1] - 1)]
        yield _source(starts, block), block.start + chosen, length, bucket


def _table(edges: Sequence[tuple[int, ...]]) -> np.ndarray:
    """int16 [mix flags, length] -> bucket; lengths beyond the last edge stand for all longer ones."""
    length = np.arange(max(row[-1] for row in edges if row) + 1)
    table = np.zeros((_MIX + 1, len(length)), np.int16)
    first = 0
    for mix, row in zip(MIXES, edges):
        if row:
            table[mix] = first + np.minimum(np.searchsorted(row, length), len(row) - 1)
        first += len(row)
    return table


def _source(starts: np.ndarray, block: slice) -> int:
    """The data set that a block lies in."""
    return int(np.searchsorted(starts, block.start, side="right")) - 1
