"""A source's entries -> examples -> shards -> a data set, on all cores of one machine or on the machines of a Beam runner.

Shard k reads entries [k S, (k + 1) S). It is a pure function of them, of their files and of the options (`Job`), so that its bytes
do not depend on who writes it or when; and it leaves word of being done under a key of all that. A preparation that was killed
leaves `.NAME.partial`; the same command finds the finished shards there and goes on.
"""
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.dataset import FORMAT
from data_pipelines.prepare.build import SHARD_EXAMPLES, Checks, assemble, directory
from data_pipelines.prepare.clip_reader import Reading, extract_ahead, read_examples
from data_pipelines.prepare.liveportrait import ahead
from data_pipelines.prepare.manifest import Entry, checked
from data_pipelines.prepare.report import Rejected, Report
from data_pipelines.prepare.segment import segments
from data_pipelines.prepare.shards import Settings, Shard, finished, write_shard
from data_pipelines.prepare.sources import rows
from data_pipelines.remote import stamp, written
from jamflow_jax.errors import InputError
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer

READING, CHECKS = Reading(), Checks()


@dataclasses.dataclass(frozen=True)
class Job:
    """One shard to be written; goes to another process or machine as it stands."""

    number: int
    entries: tuple[Entry, ...]
    settings: Settings
    reading: Reading
    path: Path  # the folder of the shards

    def key(self) -> str:
        """Of all that decides the shard's bytes; files count by their sizes and times of change."""
        extractor = self.reading.extractor and dataclasses.replace(self.reading.extractor, command=(), cache="")
        features = self.reading.features and dataclasses.replace(self.reading.features, python="")
        reading = dataclasses.replace(self.reading, extractor=extractor, features=features)
        files = [_stamp(path) for entry in self.entries for path in (entry.audio, entry.motion, entry.video, entry.speech) if path]
        content = (FORMAT, self.number, self.entries, self.settings, reading, files)
        return hashlib.sha256(repr(content).encode()).hexdigest()

    def run(self) -> Shard:
        """The shard, written unless it is there already."""
        key = self.key()
        return finished(self.number, self.path, key) or write_shard(
            self.number, read_examples(self.entries, self.settings, self.reading), self.settings, self.path, key
        )


def prepare(
    source: str | Path | list[Entry],
    out: str | Path,
    space: MotionSpace,
    tokenizer: Tokenizer | str = "char",
    *,
    report: Report | None = None,
    reading: Reading = READING,
    segment: bool = False,
    checks: Checks = CHECKS,
    workers: int = 1,
    beam: list[str] | None = None,
    shard_examples: int | None = None,
    overwrite: bool = False,
    **settings,
) -> Report:
    """Turns a source into the data set `out`.

    Args:
      source: what `sources.rows` takes, or its entries.
      report: of what became of the source's rows before.
      tokenizer: a Tokenizer, or "char", "pinyin" (vocabulary taken from the source's texts) or "byte".
      segment: cut what is longer than max_seconds on pauses, instead of rejecting it.
      checks: over the whole set, see `build.Checks`.
      workers: processes; the result is the same for any number.
      beam: options of an Apache Beam pipeline that writes the shards instead, such as ["--runner=DirectRunner"]; its machines must
      see
        the files and `out` under the same names.
      shard_examples: clips per shard; by default from 64 (of videos 8) to 1024, so that there are some 32 shards to share.
      settings: validation, test, max_seconds, crop, keep_audio: see `build.build`.

    Returns:
      The report; with `.exit_code` 1 (nothing usable) no data set was written.

    Raises:
      InputError: the source cannot be read, or `out` is there already or cannot be written.
    """
    report = Report() if report is None else report
    entries = source if isinstance(source, list) else checked(rows(source), report)
    if not entries and not report.rejections:
        raise InputError(f"{source or out}: there is no clip to prepare")
    if segment:
        longest = settings.get("max_seconds", Settings.max_seconds)
        with _pool(min(workers, len(entries))) as each:
            parts = list(each(functools.partial(_segments, longest=longest), entries))
        entries = _distinct([entry for part in parts for entry in (part if isinstance(part, list) else [])], report)
        for failed in (part for part in parts if isinstance(part, tuple)):
            report.reject(*failed)
    if isinstance(tokenizer, str):
        tokenizer = Tokenizer.from_texts((entry.text for entry in entries if entry.text), kind=tokenizer)
    chosen = Settings(space, tokenizer, **settings)
    with written(out, overwrite) as here, directory(here, overwrite, keep=True) as partial:
        fewest = 8 if reading.extractor else 64  # a video costs seconds, and all cores should have some
        shard_examples = shard_examples or min(max(-(-len(entries) // 32), fewest), SHARD_EXAMPLES)
        slices = [tuple(entries[i : i + shard_examples]) for i in range(0, len(entries), shard_examples)]
        jobs = [Job(number, part, chosen, reading, partial / "shards") for number, part in enumerate(slices)]
        if reading.extractor is not None and reading.extractor.here is not None:
            todo = [job for job in jobs if not finished(job.number, job.path, job.key())]
            clips = [entry for job in todo for entry in job.entries if entry.video and not entry.motion]
            steps = (functools.partial(extract_ahead, entry, reading, chosen.max_seconds) for entry in clips)
            print(ahead(steps, workers), flush=True)
        if beam is not None:
            from data_pipelines.prepare.beam import run_jobs

            run_jobs(jobs, beam)
            workers = 1  # what follows only reads what is done
        with _pool(min(workers, len(jobs))) as each:
            assemble(partial, each(Job.run, jobs), chosen, report, lambda: tokenizer, checks)
    return report


def _segments(entry: Entry, longest: float) -> list[Entry] | tuple[str, InputError]:
    try:
        return segments(entry, longest)
    except InputError as error:
        return entry.id, error
    except OSError as error:
        return entry.id, Rejected("cannot be read", f"{error.filename or entry.id}: {error.strerror}")


def _distinct(entries: list[Entry], report: Report) -> list[Entry]:
    """The entries but for parts whose name a clip of the source has (a-0000 of a.wav, beside a-0000.wav), which are rejected."""
    named = {entry.id for entry in entries if entry.recording is None}
    kept = []
    for entry in entries:
        if entry.recording is not None and entry.id in named:
            said = f"the id of a part of {entry.recording} is that of another clip; rename one of them"
            report.reject(entry.id, Rejected("duplicate id", f"{entry.id}: {said}"))
            continue
        kept.append(entry)
    return kept


def _stamp(path: Path) -> tuple | None:
    try:
        return stamp(path)
    except OSError:
        return None


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
