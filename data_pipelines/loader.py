"""The loader: step -> this process's part of the global batch, as padded arrays; Grain reads ahead.

The plan names the B global ids of a step; part p of N are ids [p B / N, (p + 1) B / N). Which parts a process reads the mesh says
(parallel/mesh.py): those that its devices need. A batch depends on (seed, step) alone: the step number is the whole state of the
pipeline, and processes, threads and worker processes change nothing but speed.

Crops: a clip longer than its bucket is cut at a start on the 0.16 s grid drawn from (seed, step, id); its text no longer
says what is heard and is dropped. A damaged record keeps its slot: zeros of weight 0, named in a warning. Its `has_audio` and
`has_motion` stay those of the index, so that all processes agree on which streams a batch has.
"""
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import grain.python as grain
import numpy as np

from data_pipelines.dataset import Corpus
from data_pipelines.index import AUDIO, MOTION
from data_pipelines.plan import Plan
from data_pipelines.record import Record
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.timeline import CROP_MEL, CROP_MOTION, MEL_BINS, motion_frames

HOPELESS = 1_000  # clips damaged one after the other: the data is not there
_CROP = 0x43524F50  # domain of the crop's key
Batch = dict[str, np.ndarray]


class Loader:
    """Batches of a corpus (the keys are those of the table in docs/data.md).

    Args:
      corpus, plan: the plan must be of the corpus's index.
      parts, of: which parts of every batch this process reads, of so many equal ones.
      speech: also read speech features into `speech`, with `has_speech`.
      workers, prefetch: processes (0: threads of this one) and batches read ahead.
    """

    def __init__(
        self, corpus: Corpus, plan: Plan, parts: Sequence[int] = (0,), of: int = 1, speech: bool = False, workers: int = 0,
        prefetch: int = 4,
    ):  # fmt: skip
        for frames, batch in plan.shapes:
            if batch % of:
                raise ConfigError(f"a batch of {batch} clips (bucket {frames}) does not divide into {of} parts")
        if speech and not corpus.speech_dim:
            raise ConfigError("speech = 'features': the data set has no speech features; set speech = 'mel'")
        self.corpus, self.plan, self.parts, self.of = corpus, plan, list(parts), of
        self.speech, self.workers, self.prefetch = speech, workers, prefetch
        self.mouth, self.rest = list(corpus.space.mouth), list(corpus.space.rest)
        self._splits: dict[str, Plan | None] = {}  # plans of held-out splits
        self.damaged: dict[int, str] = {}  # global id -> what was wrong, seen by this process

    def __getstate__(self):  # worker processes read for training alone
        return self.__dict__ | {"_splits": {}}

    def batch(self, step: int) -> Batch:
        """This process's parts of the batch of `step`, one after the other."""
        frames, ids = self.plan.batch(step)
        mine = self._mine(ids)
        return self._read(frames, mine, np.ones(len(mine), np.float32), step)

    def iterate(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """The batches of steps start, start + 1, ..., read ahead by Grain.

        Raises:
          InputError: nothing but damage: every clip, or the last `HOPELESS` read, had a record that could not be used.
        """
        stop = 2**31 - 1 if stop is None else stop
        steps = grain.MapDataset.range(start, stop).map(self.batch)
        options = grain.ReadOptions(num_threads=max(1, min(self.prefetch, 16)), prefetch_buffer_size=max(1, self.prefetch))
        ahead = steps.to_iter_dataset(options)
        if self.workers:
            _parse_flags()
            per_worker = max(1, self.prefetch // self.workers)
            ahead = ahead.mp_prefetch(grain.MultiprocessingOptions(self.workers, per_worker_buffer_size=per_worker))
        lost: set[int] = set()  # since the last whole clip
        for batch in ahead:
            for i in batch["example_id"][batch["weight"] == 0].tolist():
                self.damaged.setdefault(i, "damaged record")  # worker processes keep their own books
                lost.add(i)
            if batch["weight"].any():
                lost.clear()
            elif len(lost) >= min(self.plan.clips, HOPELESS):
                every = "every clip" if len(lost) == self.plan.clips else f"each of the last {len(lost)} clips"
                raise InputError(f"{every} of the {self.plan.split} split is damaged; the first: {self.damaged[min(lost)]}")
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

    def _mine(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(self.of, -1)[self.parts].reshape(-1)

    def _read(self, frames: int, ids: np.ndarray, weight: np.ndarray, step: int) -> Batch:
        B, T, M, index = len(ids), frames, motion_frames(frames), self.corpus.index
        flags = index.flags[ids]
        batch = {
            "mel": np.zeros((B, T, MEL_BINS), np.float16),  # as stored: half the copying, and the same numbers
            "mouth": np.zeros((B, M, len(self.mouth)), np.float32),
            "rest": np.zeros((B, M, len(self.rest)), np.float32),
            "text": np.full((B, T), -1, np.int32),
            "length": np.minimum(index.length[ids], T).astype(np.int32),
            "weight": weight.copy(),
            "has_audio": flags & AUDIO > 0,
            "has_motion": flags & MOTION > 0,
            "has_text": np.zeros(B, bool),
            "has_rest": np.zeros(B, bool),
            "example_id": ids.astype(np.int32),
        }
        if self.speech:
            batch |= {"speech": np.zeros((B, M, self.corpus.speech_dim), np.float16), "has_speech": np.zeros(B, bool)}
        for b, i in enumerate(ids.tolist()):
            try:
                self._fill(batch, b, self.corpus.record(i, self.speech), i, step)
            except InputError as error:
                batch["weight"][b] = 0
                said = str(error)
                if self.damaged.setdefault(i, said) is said:  # atomic: threads read one clip at once
                    sys.stderr.write(f"warning: {' '.join(said.split())}; its slot gets weight 0\n")
        return batch

    def _fill(self, batch: Batch, b: int, record: Record, i: int, step: int) -> None:
        """Writes clip i into row b."""
        T, M = batch["mel"].shape[1], batch["mouth"].shape[1]
        start, cropped = 0, record.length > T
        if cropped:
            places = (record.length - T) // CROP_MEL + 1
            key = np.random.SeedSequence((self.plan.seed, _CROP, step, i)).generate_state(1, np.uint64)
            start = int(key[0] % np.uint64(places))
        if record.mel is not None:
            mel = record.mel[start * CROP_MEL :][:T]
            batch["mel"][b, : len(mel)] = mel
        if record.motion is not None:
            motion = self.corpus.statistics.normalise(record.motion[start * CROP_MOTION :][:M])
            batch["mouth"][b, : len(motion)] = motion[:, self.mouth]
            batch["rest"][b, : len(motion)] = motion[:, self.rest]
            batch["has_rest"][b] = len(self.rest) > 0
        if record.text and not cropped:
            text = self.corpus.tokenizer.encode(record.text)[:T]
            batch["text"][b, : len(text)] = text
            batch["has_text"][b] = len(text) > 0
        if self.speech and record.speech is not None:
            speech = record.speech[start * CROP_MOTION :][:M]
            batch["speech"][b, : len(speech)] = speech
            batch["has_speech"][b] = True


def open_loader(
    data, seed: int, split: str = "train", parts: Sequence[int] = (0,), of: int = 1, multiple: int = 1,
    require: tuple[str, ...] = (), space: MotionSpace | None = None, speech: bool = False,
) -> Loader:  # fmt: skip
    """The loader a `DataConfig` asks for. `data.path` names one data set, or several with weights: "a,b=0.5".

    `multiple`: batch sizes are multiples of it (devices x accumulation). `require`: see `Plan`. The others: see `Loader`.
    """
    paths, weights = parse_paths(data.path)
    corpus = Corpus(paths, space)
    plan = Plan(
        corpus.index, data.buckets, data.batch_frames, data.max_batch, seed, split, multiple, data.crop, require,
        corpus.starts, weights, data.align,
    )  # fmt: skip
    return Loader(corpus, plan, parts, of, speech, data.workers, data.prefetch)


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
