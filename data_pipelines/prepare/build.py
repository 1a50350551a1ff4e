"""Writes a data set directory from examples: shards, index, statistics, vocabulary, report; `dataset.json` last."""
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Example:
    """One clip, read and converted; what every source (manifest, synthetic corpus) hands to `build`."""

    id: str  # unique in the data set
    audio: np.ndarray | None = None  # [N] float, 24 kHz, mono, in [-1, 1]
    motion: np.ndarray | None = None  # [M, D] float32, 25 fps, raw units of the data set's motion space
    text: str | None = None
    speaker: str | None = None
    split: str | None = None  # "train" | "validation" | "test"; None: by hash of the id
    speech: np.ndarray | None = None  # [M, S] speech features per motion frame
    extra: dict = dataclasses.field(default_factory=dict)  # JSON: words, phonemes as [[start s, end s, label], ...]
    notes: tuple[str, ...] = ()  # what was said about it while reading ("stereo, mixed", ...)


def build(
    examples: Iterable[Example],
    out: str | Path,
    space,  # jamflow_jax.motion.space.MotionSpace
    tokenizer=None,  # jamflow_jax.text.tokenizer.Tokenizer; None: characters of the examples' texts
    *,
    validation: float = 0.05,
    test: float = 0.05,
    max_seconds: float = 30.0,
    crop: bool = False,  # crop longer clips to max_seconds instead of rejecting them
    keep_audio: bool = True,  # FLAC column in shards/audio-*.array_record
    shard_examples: int = 1024,
    overwrite: bool = False,
):
    """Writes the data set `out` and returns its `report.Report` (accepted, rejected, notes; `.exit_code`, `.summary()`)."""
    raise NotImplementedError
