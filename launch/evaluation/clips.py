"""The clips an evaluation is about: held-out ones, and the training clips that probes and means are made from."""
import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.mouth import derangement

TRAINING_CLIPS = 2_000  # at most, for mean curves and probes


@dataclasses.dataclass(frozen=True)
class Held:
    """One clip. `number` is its place among the evaluated ones, from which seeds are derived."""

    number: int
    id: str
    length: int  # mel frames
    mel_TF: np.ndarray | None
    motion_MD: np.ndarray | None  # raw units
    audio_N: np.ndarray | None  # 24 kHz
    text: str | None
    speaker: str | None
    extra: dict
    reference: "Held | None" = None  # another clip of the same speaker, of the training split where it has one


@dataclasses.dataclass(frozen=True)
class Clips:
    """The evaluated ones and the training ones; clip `others[i]` stands in for clip i where something is shuffled."""

    test: list[Held]
    train: list[Held]
    damaged: int

    @property
    def others(self) -> np.ndarray:
        return derangement(len(self.test))


def read(corpus, split: str, require: Sequence[str], most: int | None, sound: bool) -> Clips:
    """Reads a split and the training split.

    Args:
      corpus: data_pipelines.dataset.Corpus.
      require: what the clips need: "audio", "motion", "text".
      most: clips of the split at most, evenly spread.
      sound: read the samples of the evaluated clips and their references, too.

    Raises:
      InputError: fewer than two clips in either split; the message says which splits have some.
    """
    test, damaged = _some(corpus, split, tuple(require), most, sound)
    train, damaged_too = _some(corpus, "train", tuple(require), TRAINING_CLIPS, False)
    if len(test) < 2 or len(train) < 2:
        from data_pipelines.index import SPLITS

        there = ", ".join(f"{name} {len(corpus.index.select(name, tuple(require)))}" for name in SPLITS)
        names = ",".join(str(data.path) for data in corpus.sets)
        raise InputError(
            f"{names}: {len(test)} {split} and {len(train)} training clips with {' and '.join(require)}; at least 2 of each are "
            f"needed (there are: {there}); name another --split, or prepare the data again with a larger share for it"
        )
    if sound:
        test = [dataclasses.replace(clip, reference=_reference(corpus, clip, train)) for clip in test]
    return Clips(test, train, damaged + damaged_too)


def _some(corpus, split: str, require: tuple[str, ...], most: int | None, sound: bool) -> tuple[list[Held], int]:
    chosen, found, damaged = corpus.index.select(split, require), [], 0
    if most is not None and len(chosen) > most:
        chosen = chosen[np.linspace(0, len(chosen) - 1, most).astype(int)]
    for i in chosen:
        try:
            found.append(_held(corpus, int(i), len(found), sound))
        except InputError as error:
            print(f"rejected {error}", file=sys.stderr)
            damaged += 1
    return found, damaged


def _held(corpus, i: int, number: int, sound: bool) -> Held:
    record = corpus.record(i)
    mel_TF = None if record.mel is None else record.mel.astype(np.float32)
    audio_N = corpus.audio(i) if sound else None
    return Held(number, record.id, record.length, mel_TF, record.motion, audio_N, record.text, record.speaker, record.extra)


def _reference(corpus, clip: Held, train: list[Held]) -> Held | None:
    same = [other for other in train if other.speaker == clip.speaker and other.id != clip.id and other.mel_TF is not None]
    if not same:
        return None
    chosen = same[clip.number % len(same)]
    return dataclasses.replace(chosen, audio_N=_sound(corpus, chosen.id))


def _sound(corpus, name: str) -> np.ndarray | None:
    place = next(i for i in corpus.index.select("train") if corpus.index.id(int(i)) == name)
    return corpus.audio(int(place))
