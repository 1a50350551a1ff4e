"""A manifest's entries -> examples -> shards, on all cores.

Shard k reads entries [k S, (k + 1) S), so that its bytes do not depend on who writes it or when.
"""
import concurrent.futures
import contextlib
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from data_pipelines.prepare.audio_reader import read_audio
from data_pipelines.prepare.build import SHARD_EXAMPLES, assemble, directory
from data_pipelines.prepare.manifest import Entry, read_manifest
from data_pipelines.prepare.motion_reader import read_motion
from data_pipelines.prepare.report import Rejected, Report
from data_pipelines.prepare.shards import Example, Settings, Shard, write_shard
from jamflow_jax.errors import InputError
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.timeline import MOTION_FPS


def prepare(
    manifest: str | Path,
    out: str | Path,
    space: MotionSpace,
    tokenizer: Tokenizer | str = "char",
    *,
    max_gap: int = 5,
    workers: int = 1,
    shard_examples: int | None = None,
    overwrite: bool = False,
    **settings,
) -> Report:
    """Turns a manifest into the data set `out`.

    Args:
      tokenizer: a Tokenizer, or "char", "pinyin" (vocabulary taken from the manifest's texts) or "byte".
      max_gap: motion frames in a row, in the file's own frame rate, that may be missing and are interpolated.
      workers: processes; the result is the same for any number.
      shard_examples: clips per shard; by default from 64 to 1024, so that there are some 32 shards to share among workers.
      settings: validation, test, max_seconds, crop, keep_audio: see `build.build`.

    Returns:
      The report; with `.exit_code` 1 (nothing usable) no data set was written.

    Raises:
      InputError: the manifest cannot be read, or `out` is there already or cannot be written.
    """
    report = Report()
    entries = read_manifest(manifest, report)
    if not entries and not report.rejections:
        raise InputError(f"{manifest}: the manifest has no line")
    if isinstance(tokenizer, str):
        tokenizer = Tokenizer.from_texts((entry.text for entry in entries if entry.text), kind=tokenizer)
    chosen = Settings(space, tokenizer, **settings)
    with directory(out, overwrite) as partial:
        shard_examples = shard_examples or min(max(-(-len(entries) // 32), 64), SHARD_EXAMPLES)
        slices = [entries[i : i + shard_examples] for i in range(0, len(entries), shard_examples)]
        jobs = [(number, part, chosen, max_gap, partial / "shards") for number, part in enumerate(slices)]
        with _pool(min(workers, len(jobs))) as each:
            assemble(partial, each(_shard, jobs), chosen, report, lambda: tokenizer)
    return report


def read_example(entry: Entry, space: MotionSpace, max_gap: int, limit: float | None = None) -> Example:
    """Reads the files of one entry, of more than `limit` seconds only a little more than that. Raises Rejected."""
    notes: list[str] = []
    audio = motion = speech = None
    start = Fraction(round(entry.start * MOTION_FPS), MOTION_FPS)  # on a motion frame
    end = entry.end
    if limit is not None:  # a 10-hour file is not decoded to be found too long
        end = min(float(start) + limit + 0.5, math.inf if end is None else end)
    if entry.audio:
        audio, said = read_audio(entry.audio, float(start), end)
        notes += said
    if entry.motion:
        motion, said = read_motion(entry.motion, space, entry.motion_key, entry.fps, entry.space, max_gap, " (--max-gap)")
        notes += said
        motion = _cut(motion, start, end, entry.motion)
    if entry.speech:
        speech = _cut(_speech(entry.speech), start, end, entry.speech)
    return Example(entry.id, audio, motion, entry.text, entry.speaker, entry.split, speech, entry.extra, tuple(notes))


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


def _shard(job: tuple) -> Shard:
    number, entries, settings, max_gap, path = job
    limit = settings.max_seconds
    return write_shard(number, _examples(entries, settings.space, max_gap, limit), settings, path)


def _examples(entries: list[Entry], space: MotionSpace, max_gap: int, limit: float) -> Iterable:
    for entry in entries:
        try:
            yield read_example(entry, space, max_gap, limit)
        except InputError as error:
            yield entry.id, error
        except MemoryError:
            yield entry.id, Rejected("too large", f"{entry.audio or entry.motion}: does not fit into memory")
        except OSError as error:
            yield entry.id, Rejected("cannot be read", f"{error.filename or entry.id}: {error.strerror}")


@contextlib.contextmanager
def _pool(workers: int) -> Iterator:
    """An ordered map over processes, or over this one."""
    if workers <= 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    with _environment(JAX_PLATFORMS="cpu", OMP_NUM_THREADS="1"):  # of the workers: no accelerator, no threads on top
        pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_ignore_interrupt)
        try:
            yield pool.map
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError("a worker process was killed, probably for memory; give fewer --workers") from None
        finally:
            unfinished = sys.exc_info()[0] is not None
            pool.shutdown(wait=not unfinished, cancel_futures=True)
            if unfinished:
                for process in set(multiprocessing.active_children()) - before:
                    process.terminate()
                    process.join()


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent tidies up


