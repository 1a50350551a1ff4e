"""Does the mouth follow the sound? Correlation of mouth-opening curves, in the same four rows always.

For clip c with true opening y and a predicted one p, over its M frames (25 a second),

    raw         r(p, y)                Pearson
    subtracted  r(p - m, y - m)        m = the training set's mean curve                                             (1)
    m[i]        = mean of y[i] over the training clips that have a frame i; behind the longest clip, its last value   (2)

Every clip of a corpus such as GRID opens and closes at much the same times, so m alone scores high: (1) takes that away. The rows:

    model           the curve generated for this clip's sound
    mean curve      m: what can be had without hearing anything; its subtracted score has no variance and counts as 0
    shuffled audio  the model's curve for another clip's sound (a derangement): what a model that does not listen scores
    ridge           ridge regression from log-mel, +-5 motion frames, trained on the training clips: what a linear ear hears

A curve without variance scores 0. A mean over clips comes with a bootstrap interval.
"""
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.bootstrap import Interval, interval, paired
from jamflow_jax.evaluate.probe import Ridge
from jamflow_jax.motion import convert
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.motion.space import get as get_space

ROWS = ("model", "mean curve", "shuffled audio", "ridge")
NOTE = "r per clip, mean over clips [95 % bootstrap]; the mean curve minus itself has no variance and counts as 0"


@dataclasses.dataclass(frozen=True)
class Clip:
    """One clip with sound and truth."""

    id: str
    mel_TF: np.ndarray  # log-mel [T, 100]
    opening_M: np.ndarray  # true mouth opening, any unit


@dataclasses.dataclass(frozen=True)
class Table:
    """Scores of the four rows over the same C clips."""

    clips: tuple[str, ...]
    raw: dict[str, np.ndarray]  # row -> [C]
    subtracted: dict[str, np.ndarray]  # row -> [C]
    seed: int = 0

    def interval(self, row: str, subtracted: bool = False) -> Interval:
        """Mean and 95 % bootstrap interval of a row."""
        return interval((self.subtracted if subtracted else self.raw)[row], seed=self.seed)

    def difference(self, row: str, other: str, subtracted: bool = False) -> Interval:
        """Mean and interval of the paired difference row - other."""
        scores = self.subtracted if subtracted else self.raw
        return paired(scores[row], scores[other], seed=self.seed)

    def markdown(self) -> str:
        """The table for a document."""
        lines = [f"| mouth opening, {len(self.clips)} clips | raw r | r after subtracting the mean curve |", "|---|---|---|"]
        lines += [f"| {row} | {self.interval(row)} | {self.interval(row, True)} |" for row in ROWS]
        return "\n".join([*lines, "", f"({NOTE}.)"])

    def text(self) -> str:
        """The table for a terminal."""
        lines = [f"{f'mouth opening, {len(self.clips)} clips':<28}{'raw r':<24}minus mean curve"]
        lines += [f"  {row:<26}{self.interval(row)!s:<24}{self.interval(row, True)}" for row in ROWS]
        return "\n".join([*lines, f"  ({NOTE})"])

    def to_json(self) -> dict[str, Any]:
        """Plain values: per row, mean, low and high of both scores."""

        def values(i: Interval) -> dict[str, float]:
            return {"mean": i.mean, "low": i.low, "high": i.high}

        rows = {row: {"raw": values(self.interval(row)), "subtracted": values(self.interval(row, True))} for row in ROWS}
        return {"clips": len(self.clips), "rows": rows, "note": NOTE}


def opening_curve(motion_MD: Float[np.ndarray, "M D"], space: MotionSpace) -> Float[np.ndarray, "M"]:
    """Mouth opening of motion in raw units of its space, by the space's converter to `lips`.

    Raises:
      InputError: the space has no converter to lips, or the motion does not fit it.
    """
    return np.asarray(convert.convert(motion_MD, space, get_space("lips"))[:, 0], np.float64)


def score(train: Sequence[Clip], test: Sequence[Clip], generated: Sequence[Float[np.ndarray, "?M"]], seed: int = 0) -> Table:
    """The four rows over the clips of `test`.

    Args:
      train: clips that the model was trained on; they make the mean curve and train the ridge.
      test: held-out clips.
      generated: the model's opening curve for each test clip's sound, in the order of `test` and in the unit of the truth.
      seed: of the derangement and the bootstrap.

    Raises:
      InputError: fewer than two clips in either set, or not one curve of the truth's length per test clip.
    """
    if len(generated) != len(test):
        raise InputError(f"{len(generated)} generated curves for {len(test)} clips")
    for clip, curve in zip(test, generated):
        if np.shape(curve) != np.shape(clip.opening_M):
            raise InputError(f"clip {clip.id}: generated {np.shape(curve)} frames, the truth has {np.shape(clip.opening_M)}")
    mean_M = mean_curve([clip.opening_M for clip in train])
    ridge = Ridge.fit([(clip.mel_TF, clip.opening_M) for clip in train])
    other = derangement(len(test), seed)
    predictions = {
        "model": list(generated),
        "mean curve": [hold(mean_M, len(clip.opening_M)) for clip in test],
        "shuffled audio": [generated[i] for i in other],  # another length: compared over the frames both have
        "ridge": [ridge.predict(clip.mel_TF, len(clip.opening_M)) for clip in test],
    }
    raw, subtracted = {}, {}
    for row, curves in predictions.items():
        pairs = [_both(curve, clip.opening_M) for curve, clip in zip(curves, test)]
        raw[row] = np.array([pearson(p, y) for p, y in pairs])
        subtracted[row] = np.array([pearson(p - hold(mean_M, len(p)), y - hold(mean_M, len(y))) for p, y in pairs])
    return Table(tuple(clip.id for clip in test), raw, subtracted, seed)


def pearson(x_M: Float[np.ndarray, "M"], y_M: Float[np.ndarray, "M"]) -> float:
    """Correlation of two curves; 0 when one of them has no variance (relative to its size, in float32's precision)."""
    x_M, y_M = np.asarray(x_M, np.float64), np.asarray(y_M, np.float64)
    if len(x_M) < 2:
        return 0.0
    dx_M, dy_M = x_M - x_M.mean(), y_M - y_M.mean()
    sx, sy = np.sqrt((dx_M**2).mean()), np.sqrt((dy_M**2).mean())
    if sx <= 1e-7 * abs(x_M).max() or sy <= 1e-7 * abs(y_M).max():
        return 0.0
    return float((dx_M * dy_M).mean() / (sx * sy))


def mean_curve(curves: Sequence[Float[np.ndarray, "?M *D"]]) -> Float[np.ndarray, "L *D"]:
    """Equation 2, as long as the longest curve; of several dimensions at once, too.

    Raises:
      InputError: no curve, or only empty ones.
    """
    longest = max((len(curve) for curve in curves), default=0)
    if not longest:
        raise InputError("a mean curve needs at least one training clip with motion")
    width = np.shape(curves[0])[1:]
    total_L, count_L = np.zeros((longest, *width)), np.zeros((longest, *(1 for _ in width)))
    for curve in curves:
        total_L[: len(curve)] += curve
        count_L[: len(curve)] += 1
    return total_L / count_L


def hold(curve_L: Float[np.ndarray, "L *D"], frames: int) -> Float[np.ndarray, "M *D"]:
    """The first `frames` values of a curve, its last one repeated where it is shorter."""
    return curve_L[np.minimum(np.arange(frames), len(curve_L) - 1)]


def derangement(count: int, seed: int = 0) -> Int[np.ndarray, "C"]:
    """A permutation that leaves nothing in place: one random cycle through all (Sattolo).

    Raises:
      InputError: fewer than two.
    """
    if count < 2:
        raise InputError(f"shuffled audio needs at least 2 clips, got {count}")
    order_C = np.random.Generator(np.random.PCG64([seed, 0xDE])).permutation(count)
    result_C = np.empty(count, np.int64)
    result_C[order_C] = np.roll(order_C, 1)
    return result_C


def _both(curve: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    frames = min(len(curve), len(truth))
    return np.asarray(curve[:frames], np.float64), np.asarray(truth[:frames], np.float64)
