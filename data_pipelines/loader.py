"""The loader: step -> this host's slice of the global batch, as padded arrays; Grain reads ahead.

The plan names the B global ids of a step; host h of H takes ids [h B / H, (h + 1) B / H). A batch depends on (seed, step) alone:
the step number is the whole state of the pipeline, and hosts, threads and worker processes change nothing but speed.

Crops: a clip longer than its bucket is cut at a start on the 0.16 s grid drawn from (seed, step, id); its text no longer
says what is heard and is dropped. A damaged record keeps its slot: zeros, nothing present, weight 0, named in a warning.
"""
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import grain.python as grain
import numpy as np

from data_pipelines.dataset import Corpus
from data_pipelines.plan import Plan
from data_pipelines.record import Record
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.timeline import CROP_MEL, CROP_MOTION, MEL_BINS, motion_frames

_CROP = 0x43524F50  # domain of the crop's key
Batch = dict[str, np.ndarray]


class Loader:
    """Batches of a corpus (the keys are those of the table in docs/data.md).

    Args:
      corpus, plan: the plan must be of the corpus's index.
      host, hosts: which slice of every batch this process reads.
      speech: also read speech features into `speech`, with `has_speech`.
      workers, prefetch: processes (0: threads of this one) and batches read ahead.
    """

    def __init__(
        self, corpus: Corpus, plan: Plan, host: int = 0, hosts: int = 1, speech: bool = False, workers: int = 0,
        prefetch: int = 4,
    ):  # fmt: skip
        for frames, batch in plan.shapes:
            if batch % hosts:
                raise ConfigError(f"a batch of {batch} clips (bucket {frames}) does not divide among {hosts} hosts")
        if speech and not corpus.speech_dim:
            raise ConfigError("speech = 'features': the data set has no speech features; set speech = 'mel'")
        self.corpus, self.plan, self.host, self.hosts = corpus, plan, host, hosts
        self.speech, self.workers, self.prefetch = speech, workers, prefetch
        self.mouth, self.rest = list(corpus.space.mouth), list(corpus.space.rest)
        self._splits: dict[str, Plan | None] = {}  # plans of held-out splits
        self.damaged: dict[int, str] = {}  # global id -> what was wrong, seen by this process

    def batch(self, step: int) -> Batch:
        """This host's part of the batch of `step`."""
        frames, ids = self.plan.batch(step)
        return self._read(frames, self._mine(ids), np.ones(len(ids) // self.hosts, np.float32), step)

    def iterate(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """The batches of steps start, start + 1, ..., read ahead by Grain. Raises InputError once no clip is left whole."""
        stop = 2**31 - 1 if stop is None else stop
        steps = grain.MapDataset.range(start, stop).map(self.batch)
        options = grain.ReadOptions(num_threads=max(1, min(self.prefetch, 16)), prefetch_buffer_size=max(1, self.prefetch))
        ahead = steps.to_iter_dataset(options)
        if self.workers:
            _parse_flags()
            per_worker = max(1, self.prefetch // self.workers)
            ahead = ahead.mp_prefetch(grain.MultiprocessingOptions(self.workers, per_worker_buffer_size=per_worker))
        for batch in ahead:
            for i in batch["example_id"][batch["weight"] == 0].tolist():  # worker processes keep their own books
                self.damaged.setdefault(i, "damaged record")
            if not batch["weight"].any() and self.damaged.keys() >= self._ids():
                first = next(iter(self.damaged.values()))
                raise InputError(f"every clip of the {self.plan.split} split is damaged; the first: {first}")
            yield batch

    def fingerprint(self) -> str:
        """SHA-256 of all that decides what a batch holds: the plan, the motion space and statistics, the vocabulary."""
        corpus = self.corpus
        text = json.dumps([corpus.space.to_json(), corpus.statistics.to_json(), corpus.tokenizer.kind, corpus.tokenizer.vocab])
        return hashlib.sha256(f"{self.plan.fingerprint()} {text}".encode()).hexdigest()

    def fixed_batches(self, split: str, batches: int | None = None) -> Iterator[Batch]:
        """`batches` of a split (None: all of it) in a fixed order, filled up with weight 0: for evaluation. Crops are
        those of step 0. Empty when the split is. Raises at once, not at the first batch, what `Plan` raises."""
        if split not in self._splits:
            self._splits[split] = self.plan.of_split(split) if self.corpus.index.any(split, self.plan.require) else None
        if (plan := self._splits[split]) is None:
            return iter(())
        fixed = plan.fixed(batches)
        return (self._read(frames, self._mine(ids), self._mine(weight), step=0) for frames, ids, weight in fixed)

    def _ids(self) -> set[int]:
        """All that the plan may name."""
        return {int(i) for bucket in self.plan.buckets for members in bucket.members for i in members}

    def _mine(self, x: np.ndarray) -> np.ndarray:
        share = len(x) // self.hosts
        return x[self.host * share : (self.host + 1) * share]

    def _read(self, frames: int, ids: np.ndarray, weight: np.ndarray, step: int) -> Batch:
        rows = [self._clip(frames, int(i), step) for i in ids]
        batch = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        batch["example_id"] = ids.astype(np.int32)
        batch["weight"] *= weight
        return batch

    def _clip(self, frames: int, i: int, step: int) -> Batch:
        """The arrays of clip i in a bucket of T = `frames`, without the batch axis."""
        M = motion_frames(frames)
        row = {
            "mel": np.zeros((frames, MEL_BINS), np.float32),
            "mouth": np.zeros((M, len(self.mouth)), np.float32),
            "rest": np.zeros((M, len(self.rest)), np.float32),
            "text": np.full(frames, -1, np.int32),
            "length": np.int32(min(self.corpus.index.length[i], frames)),
            "weight": np.float32(1),
        } | {f"has_{name}": np.False_ for name in ("audio", "motion", "text", "rest")}
        if self.speech:
            row |= {"speech": np.zeros((M, self.corpus.speech_dim), np.float32), "has_speech": np.False_}
        try:
            record = self.corpus.record(i, self.speech)
        except InputError as error:
            said = str(error)
            if self.damaged.setdefault(i, said) is said:  # atomic: threads read one clip at once
                sys.stderr.write(f"warning: {' '.join(said.split())}; its slot gets weight 0\n")
            return row | {"weight": np.float32(0)}
        self._fill(row, record, i, step)
        return row

    def _fill(self, row: Batch, record: Record, i: int, step: int) -> None:
        frames, M = len(row["mel"]), len(row["mouth"])
        start, cropped = 0, record.length > frames
        if cropped:
            places = (record.length - frames) // CROP_MEL + 1
            key = np.random.SeedSequence((self.plan.seed, _CROP, step, i)).generate_state(1, np.uint64)
            start = int(key[0] % np.uint64(places))
        if record.mel is not None:
            mel = record.mel[start * CROP_MEL :][:frames]
            row["mel"][: len(mel)] = mel
            row["has_audio"] = np.True_
        if record.motion is not None:
            motion = self.corpus.statistics.normalise(record.motion[start * CROP_MOTION :][:M])
            row["mouth"][: len(motion)] = motion[:, self.mouth]
            row["rest"][: len(motion)] = motion[:, self.rest]
            row["has_motion"] = np.True_
            row["has_rest"] = np.bool_(len(self.rest) > 0)
        if record.text and not cropped:
            text = self.corpus.tokenizer.encode(record.text)[:frames]
            row["text"][: len(text)] = text
            row["has_text"] = np.bool_(len(text) > 0)
        if self.speech and record.speech is not None:
            speech = record.speech[start * CROP_MOTION :][:M]
            row["speech"][: len(speech)] = speech
            row["has_speech"] = np.True_


def open_loader(
    data, seed: int, split: str = "train", host: int = 0, hosts: int = 1, multiple: int = 1,
    require: tuple[str, ...] = (), space: MotionSpace | None = None, speech: bool = False,
) -> Loader:  # fmt: skip
    """The loader a `DataConfig` asks for. `data.path` names one data set, or several with weights: "a,b=0.5".

    `multiple`: batch sizes are multiples of it (devices x accumulation). `require`: see `Plan`. `speech`: see `Loader`.
    """
    paths, weights = parse_paths(data.path)
    corpus = Corpus(paths, space)
    plan = Plan(
        corpus.index, data.buckets, data.batch_frames, data.max_batch, seed, split, multiple, data.crop, require,
        corpus.starts, weights, data.align,
    )  # fmt: skip
    return Loader(corpus, plan, host, hosts, speech, data.workers, data.prefetch)


def parse_paths(text: str) -> tuple[list[Path], tuple[float, ...]]:
    """Directories and weights of "DIR[=WEIGHT],DIR[=WEIGHT],..."."""
    paths, weights = [], []
    for part in filter(None, (part.strip() for part in text.split(","))):
        path, _, weight = part.rpartition("=")
        try:
            weights.append(float(weight) if path else 1.0)
        except ValueError:
            path, _ = "", weights.append(1.0)
        paths.append(Path(path or part))
    if not paths:
        raise ConfigError("data.path is empty: name a data set made by `jamflow prepare`")
    return paths, tuple(weights)


def _parse_flags() -> None:
    """Grain's workers read absl flags, which nobody parsed outside absl.app."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
