"""Motion statistics, and the normalisation every model input and output goes through.

    z_d = (x_d - mean_d) / std_d      on live dimensions
    z_d = 0                           on dead ones (std_d <= floor), which carry no loss; back, they are mean_d

LivePortrait's dead dimensions vary by 1e-5: divided by that, noise would become a target of unit size. Statistics are accumulated
clip by clip in float64 with the pairwise update of Chan, Golub and LeVeque (1979), stable where sum(x^2) - n mean^2 cancels.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64

from jamflow_jax.errors import InputError
from jamflow_jax.motion.space import MotionSpace


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """Mean, population standard deviation and liveness of D dimensions over `count` frames; std is as measured, dead or not."""

    mean: Float64[np.ndarray, "D"]
    std: Float64[np.ndarray, "D"]
    live: Bool[np.ndarray, "D"]
    count: int

    @classmethod
    def from_arrays(cls, arrays: Iterable[Float[np.ndarray, "M D"]], floor: float = 1e-4) -> "Statistics":
        """One pass over clips [M, D]; empty clips are skipped.

        Args:
          arrays: motion clips, all with the same D.
          floor: dimensions whose std is not above it are dead; in the units of the motion space.

        Raises:
          InputError: no frame at all, clips of different D, or a value that is not finite.
        """
        count, mean, squares = 0, None, None
        for number, array in enumerate(arrays):
            array = np.asarray(array, np.float64)
            if array.ndim != 2 or (mean is not None and array.shape[1] != mean.size):
                needed = "[frames, dimensions]" if mean is None else f"[frames, {mean.size}]"
                raise InputError(f"motion clip {number} has shape {array.shape}; needed {needed}")
            if not np.isfinite(array).all():
                raise InputError(f"motion clip {number} has values that are not finite")
            if not len(array):
                continue
            clip_mean = array.mean(0)
            clip_squares = ((array - clip_mean) ** 2).sum(0)
            if mean is None:
                count, mean, squares = len(array), clip_mean, clip_squares
            else:
                total, delta = count + len(array), clip_mean - mean
                mean = mean + delta * (len(array) / total)
                squares = squares + clip_squares + delta**2 * (count * len(array) / total)
                count = total
        if mean is None:
            raise InputError("no motion frame to take statistics of")
        std = np.sqrt(squares / count)
        return cls(mean, std, std > floor, count)

    def take(self, indices: Sequence[int]) -> "Statistics":
        """The statistics of some dimensions, in that order."""
        chosen = list(indices)
        return Statistics(self.mean[chosen], self.std[chosen], self.live[chosen], self.count)

    def mouth(self, space: MotionSpace) -> "Statistics":
        """Those of the generated dimensions."""
        self._check(space)
        return self.take(space.mouth)

    def rest(self, space: MotionSpace) -> "Statistics":
        """Those of the conditioning dimensions."""
        self._check(space)
        return self.take(space.rest)

    def normalise(self, x: Float[np.ndarray, "*B D"]) -> Float[np.ndarray, "*B D"]:
        """Zero mean and unit variance on live dimensions, exactly 0 on dead ones; numpy or JAX arrays, dtype kept."""
        xp, mean, std = self._constants(x)
        return xp.where(self.live, (x - mean) / std, 0.0).astype(_floating(x))

    def denormalise(self, z: Float[np.ndarray, "*B D"]) -> Float[np.ndarray, "*B D"]:
        """The inverse on live dimensions; dead ones become their mean whatever `z` says."""
        xp, mean, std = self._constants(z)
        return xp.where(self.live, z * std + mean, mean).astype(_floating(z))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; Python writes floats so that they read back bit for bit."""
        return {"count": self.count, "mean": self.mean.tolist(), "std": self.std.tolist(), "live": self.live.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | str) -> "Statistics":
        """The inverse of `to_json`, from the dictionary or its text. Raises InputError when it is no such thing."""
        try:
            values = json.loads(values) if isinstance(values, str) else values
            built = cls(
                mean=np.array(values["mean"], np.float64),
                std=np.array(values["std"], np.float64),
                live=np.array(values["live"], bool),
                count=int(values["count"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not motion statistics (count, mean, std, live): {error!r}") from None
        if not built.mean.shape == built.std.shape == built.live.shape or built.mean.ndim != 1:
            raise InputError("not motion statistics: mean, std and live differ in length")
        if not (np.isfinite(built.mean).all() and (built.std[built.live] > 0).all()):
            raise InputError("not motion statistics: a mean is not finite or a live std not positive")
        return built

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Statistics)
            and self.count == other.count
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("mean", "std", "live"))
        )

    __hash__ = None

    def _check(self, space: MotionSpace) -> None:
        if space.dim != self.mean.size:
            raise InputError(
                f"statistics of {self.mean.size} dimensions do not fit motion space {space.name} of {space.dim}"
            )

    def _constants(self, x):
        if x.shape[-1] != self.mean.size:
            raise InputError(f"motion of {x.shape[-1]} dimensions does not fit statistics of {self.mean.size}")
        # numpy computes in float64 and rounds once; JAX in the array's own precision.
        dtype = np.float64 if isinstance(x, np.ndarray) else x.dtype
        return x.__array_namespace__(), self.mean.astype(dtype), np.where(self.live, self.std, 1.0).astype(dtype)


def _floating(x) -> np.dtype:
    return x.dtype if x.dtype.kind not in "iub" else np.dtype(np.float32)
