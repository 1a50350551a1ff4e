"""Motion of one space as motion of another, by registered converters; every family reaches `lips` (opening, width).

Opening grows as the mouth opens, width as its corners part. The units differ by source, so statistics are taken after
conversion and spaces compare once normalised:

    landmarks     opening = d(13, 14) / d(10, 152), width = d(61, 291) / d(234, 454), from x and y (fractions of the face)
    liveportrait  opening = 19y - 20y, width = -(14y + 20y) / 2 (canonical units; exp has no absolute positions, so the zero
                  is each face's own)
    blendshapes   opening = jaw opening - lips pressed together, width = mean(stretch, smile) - mean(pucker, ...) (weights)

LivePortrait's formulas: 19y is the jaw, 20y the lip line; on the one shipped template whose mouth moves and which has lip
ratios (d5), 19y - 20y correlates with the measured c_lip at 0.97 (19y alone: 0.78). Smiling lowers 14y and 20y in
LivePortrait's sliders, rounding raises 14y; the width is a proxy without a measurement behind it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from jamflow_jax.errors import InputError
from jamflow_jax.motion import landmarks
from jamflow_jax.motion.space import MotionSpace

Converter = Callable[[np.ndarray, MotionSpace, MotionSpace], np.ndarray]
_CONVERTERS: dict[tuple[str, str], Converter] = {}

# Blendshape names, most specific rig first: FACEGOOD, then ARKit. Sums of what is there, minus what counteracts it.
_OPENING = ("mouth_stretch_c", "jawOpen")
_CLOSING = ("mouthClose",)  # ARKit: lips kept together while the jaw is open
_WIDENING = (
    "mouth_lipStretch_l", "mouth_lipStretch_r", "mouth_lipCornerPull_l", "mouth_lipCornerPull_r",
    "mouthStretchLeft", "mouthStretchRight", "mouthSmileLeft", "mouthSmileRight",
)  # fmt: skip
_NARROWING = ("mouth_pucker_l", "mouth_pucker_r", "mouth_oo_c", "mouthPucker", "mouthFunnel")


def register(source: str, target: str) -> Callable[[Converter], Converter]:
    """Decorator: registers a function (motion [M, D1], source space, target space) -> [M, D2] for two families."""

    def keep(function: Converter) -> Converter:
        _CONVERTERS[source, target] = function
        return function

    return keep


def known() -> tuple[tuple[str, str], ...]:
    """The registered (from, to) pairs. Each family also converts to itself by dimension name."""
    return tuple(sorted(_CONVERTERS))


def converter(
    source: MotionSpace, target: MotionSpace
) -> Callable[[Float[np.ndarray, "M E"]], Float[np.ndarray, "M D"]]:
    """The function [M, D_source] -> [M, D_target] between two spaces.

    Two spaces of one family convert by dimension name (the identity when they are alike), whatever their mouth/rest split.

    Raises:
      InputError: no converter is registered (the known ones are listed), or the target has a dimension the source lacks.
    """
    if source.name == target.name and set(target.dims) <= set(source.dims):
        columns = source.columns(target.dims)
        same = source.dims == target.dims

        def function(motion_MD: np.ndarray) -> np.ndarray:
            return motion_MD if same else motion_MD[:, columns]

    elif (source.name, target.name) in _CONVERTERS:
        registered = _CONVERTERS[source.name, target.name]

        def function(motion_MD: np.ndarray) -> np.ndarray:
            return registered(motion_MD, source, target)

    elif source.name == target.name:
        missing = next(d for d in target.dims if d not in set(source.dims))
        raise InputError(f"this motion has no {missing!r}, which the data set's {target.name} space needs")
    else:
        pairs = ", ".join(f"{a} to {b}" for a, b in known())
        raise InputError(f"no converter from motion space {source.name} to {target.name}; known: {pairs}")

    def checked(motion_MD: np.ndarray) -> np.ndarray:
        if motion_MD.ndim != 2 or motion_MD.shape[1] != source.dim:
            raise InputError(
                f"motion has shape {motion_MD.shape}; motion space {source.name} needs [frames, {source.dim}]"
            )
        return function(motion_MD)

    return checked


def convert(motion_MD: Float[np.ndarray, "M E"], source: MotionSpace, target: MotionSpace) -> Float[np.ndarray, "M D"]:
    """`converter(source, target)` applied to one clip."""
    return converter(source, target)(motion_MD)


@register("liveportrait", "lips")
def _liveportrait_lips(motion_MD: np.ndarray, source: MotionSpace, target: MotionSpace) -> np.ndarray:
    y14, y19, y20 = motion_MD[:, source.columns(["kp14.y", "kp19.y", "kp20.y"])].T
    return np.stack([y19 - y20, -(y14 + y20) / 2], axis=-1)


@register("landmarks", "lips")
def _landmarks_lips(motion_MD: np.ndarray, source: MotionSpace, target: MotionSpace) -> np.ndarray:
    points, ids = landmarks.to_points(motion_MD, source)
    return landmarks.lip_ratios(points, ids).astype(motion_MD.dtype)


@register("blendshapes", "lips")
def _blendshapes_lips(motion_MD: np.ndarray, source: MotionSpace, target: MotionSpace) -> np.ndarray:
    index = {name: i for i, name in enumerate(source.dims)}

    def mean(names: tuple[str, ...]) -> Any:
        columns = [index[name] for name in names if name in index]
        return motion_MD[:, columns].mean(1) if columns else np.zeros(len(motion_MD), motion_MD.dtype)

    if not set(_OPENING) & set(index):
        raise InputError(f"these blendshapes have no jaw opening ({' or '.join(_OPENING)}), which lips need")
    # A rig without width shapes gives width 0: a dead dimension, which the statistics keep out of the loss.
    opening = np.maximum(mean(_OPENING) - mean(_CLOSING), 0)
    return np.stack([opening, mean(_WIDENING) - mean(_NARROWING)], axis=-1)
