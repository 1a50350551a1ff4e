"""Where the face is in a picture: LivePortrait's square crop, and its way back into the picture.

A crop is a square with a centre, a side and an angle, in pixels of the picture; coordinates are of pixel edges (the first pixel
reaches from 0 to 1). It comes from

    landmarks   upright along eyes -> mouth; side = 2.3 x the larger extent of the points there, moved up by 0.125 sides
    a face box  the same, not turned
    the centre  the largest square in the middle: for pictures framed as portraits. The default: it needs no detector.

A video that only drives has one crop for all its frames: 2.2, 0.1 up, not turned, the mean over its landmarks.
Source: LivePortrait, utils/crop.py, config/crop_config.py.
"""
import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from jamflow_jax.errors import InputError

SIZE, INPUT = 512, 256  # pixels of a rendered face, and of what F and M see
SOURCE, DRIVING = (2.3, 0.125), (2.2, 0.1)  # side over extent, upward shift over side
LEAST = 8  # pixels of a face: less is none, or is given in shares of the picture
SOFT = 16  # pixels of the rendered face over which it fades into the picture
# Number of points -> left eye, right eye, mouth corners, of the landmark sets people have. MediaPipe's also by their own numbers.
_SETS: dict[int, tuple[Sequence[int], Sequence[int], Sequence[int]]] = {
    5: ((0,), (1,), (3, 4)),
    68: ((36, 39), (42, 45), (48, 54)),
    106: ((33, 35, 40, 39), (87, 89, 94, 93), (52, 61)),
    203: ((0, 6, 12, 18), (24, 30, 36, 42), (48, 66)),
}
_MEDIAPIPE = ((33, 133), (362, 263), (61, 291))


class Detector(Protocol):
    """Finds faces in one RGB picture: the landmarks of each in pixels, [] for none. Sets of 5, 68, 106, 203, 468 or 478 points."""

    def __call__(self, picture_HW3: UInt8[np.ndarray, "H W 3"]) -> list[Float[np.ndarray, "L 2"]]: ...


@dataclasses.dataclass(frozen=True)
class Crop:
    """A square of a picture: centre (x, y), side, and the clockwise angle of its x axis in radians."""

    centre: tuple[float, float]
    side: float
    angle: float = 0.0

    def to_picture(self, size: int) -> Float[np.ndarray, "2 3"]:
        """The affine map from coordinates of the crop at `size` pixels to those of the picture."""
        turn = self.side / size * np.array([[np.cos(self.angle), -np.sin(self.angle)], [np.sin(self.angle), np.cos(self.angle)]])
        return np.column_stack([turn, np.asarray(self.centre) - turn @ (size / 2, size / 2)])

    def from_picture(self, size: int) -> Float[np.ndarray, "2 3"]:
        """The inverse."""
        there = self.to_picture(size)
        back = np.linalg.inv(there[:, :2])
        return np.column_stack([back, -back @ there[:, 2]])


def from_centre(width: int, height: int) -> Crop:
    """The largest square in the middle of a picture."""
    return Crop((width / 2, height / 2), min(width, height))


def from_box(box: Sequence[float], framing: tuple[float, float] = SOURCE) -> Crop:
    """Around the box (left, top, right, bottom) of a face, brows to chin. Raises InputError for an empty or tiny one."""
    left, top, right, bottom = map(float, box)
    if not (np.isfinite([left, top, right, bottom]).all() and right > left and bottom > top):
        raise InputError(f"the face box {left:g},{top:g},{right:g},{bottom:g} is empty; it is left,top,right,bottom in pixels")
    if max(right - left, bottom - top) < LEAST:
        raise InputError(f"the face box {left:g},{top:g},{right:g},{bottom:g} is smaller than {LEAST} pixels")
    scale, up = framing
    side = scale * max(right - left, bottom - top)
    return Crop(((left + right) / 2, (top + bottom) / 2 - up * side), side)


def from_landmarks(
    points_L2: Float[np.ndarray, "L 2"], ids: Sequence[int] | None = None, framing: tuple[float, float] = SOURCE,
    turn: bool = True,
) -> Crop:
    """Around the landmarks of a face.

    Args:
      points_L2: pixels; a third column is ignored.
      ids: MediaPipe's numbers of the points, where they are a choice of its 478.
      framing: SOURCE or DRIVING.
      turn: upright along the face.

    Raises:
      InputError: a set of points that is not known, or points that are no face.
    """
    points = np.asarray(points_L2, np.float64)[:, :2]
    if ids is None and len(points) not in (*_SETS, 468, 478):
        known = ", ".join(map(str, (*_SETS, 468, 478)))
        raise InputError(f"{len(points)} landmarks; known are sets of {known} (of a part of MediaPipe's, give the ids)")
    if not np.isfinite(points).all():
        raise InputError("the landmarks are no face: they are not finite")
    if (size := np.ptp(points, axis=0).max()) < LEAST:
        raise InputError(f"the landmarks are no face: they lie within {size:.2g} pixels (are they shares of the picture?)")
    left, right, mouth = (points[_rows(group, len(points), ids)].mean(0) for group in _groups(len(points), ids))
    down = mouth - (left + right) / 2
    length = np.linalg.norm(down)
    down = down / length if turn and length > 1e-3 else np.array([0.0, 1.0])
    across = np.array([down[1], -down[0]])
    axes = np.stack([across, down])
    middle = points.mean(0)
    own = (points - middle) @ axes.T
    low, high = own.min(0), own.max(0)
    scale, up = framing
    side = scale * (high - low).max()
    centre = middle + ((low + high) / 2 - (0, up * side)) @ axes
    return Crop((float(centre[0]), float(centre[1])), float(side), float(np.arctan2(across[1], across[0])))


def _groups(count: int, ids: Sequence[int] | None) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    return _SETS[count] if ids is None and count in _SETS else _MEDIAPIPE


def _rows(group: Sequence[int], count: int, ids: Sequence[int] | None) -> list[int]:
    if ids is None:
        return list(group)
    where = {int(number): row for row, number in enumerate(ids)}
    if missing := [number for number in group if number not in where]:
        raise InputError(f"the landmarks lack MediaPipe's number {missing[0]}, by which the face is put upright")
    return [where[number] for number in group]


def average(crops: Sequence[Crop]) -> Crop:
    """One upright square for a whole clip."""
    centre = np.mean([crop.centre for crop in crops], axis=0)
    return Crop((float(centre[0]), float(centre[1])), float(np.mean([crop.side for crop in crops])))


def cut(picture_HW3: UInt8[np.ndarray, "H W 3"], crop: Crop, size: int = INPUT) -> UInt8[np.ndarray, "size size 3"]:
    """The square at `size` pixels, black outside the picture. Large squares are averaged, not skipped through."""
    from PIL import Image

    # PIL interpolates between neighbouring pixels: take what is larger at a multiple of the size and average blocks.
    times = max(2, int(np.ceil(crop.side / size)))
    times = min(times, 16)
    image = Image.fromarray(np.ascontiguousarray(picture_HW3))
    map_6 = tuple(crop.to_picture(size * times).ravel())
    taken = image.transform((size * times, size * times), Image.Transform.AFFINE, map_6, Image.Resampling.BILINEAR)
    return np.asarray(taken.reduce(times))


def soft_edge(size: int = SIZE, soft: int = SOFT) -> Float[np.ndarray, "size size"]:
    """How much of a rendered face is seen: 1 inside, falling to 0 at the square's edge over `soft` pixels."""
    distance = np.minimum(np.arange(size) + 0.5, size - 0.5 - np.arange(size)) / soft
    ramp = np.clip(distance, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.minimum.outer(ramp, ramp).astype(np.float32)


class PasteBack:
    """Puts rendered faces back into the picture they were cut from; what does not depend on the face is computed once."""

    def __init__(self, crop: Crop, width: int, height: int, size: int = SIZE):
        from PIL import Image

        corners = crop.to_picture(size) @ np.array([[0, size, size, 0], [0, 0, size, size], [1, 1, 1, 1]])
        low = np.floor(corners.min(1)).astype(int)
        high = np.ceil(corners.max(1)).astype(int)
        left, top = np.clip(low, 0, (width, height))
        right, bottom = np.clip(high, 0, (width, height))
        self._window = slice(top, bottom), slice(left, right)
        self._size = (int(right - left), int(bottom - top))
        back = crop.from_picture(size)
        back[:, 2] += back[:, :2] @ (left, top)
        self._map = tuple(back.ravel())
        mask = Image.fromarray((soft_edge(size) * 255).round().astype(np.uint8))
        self._mask = self._warp(mask) if min(self._size) > 0 else None

    def __call__(self, picture_HW3: UInt8[np.ndarray, "H W 3"], face_SS3: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """A copy of the picture with the face in it."""
        from PIL import Image

        result = picture_HW3.copy()
        if self._mask is not None:  # Pillow blends bytes: as arrays of float32 it would take longer than encoding the picture
            under = Image.fromarray(np.ascontiguousarray(result[self._window]))
            under.paste(self._warp(Image.fromarray(np.ascontiguousarray(face_SS3))), mask=self._mask)
            result[self._window] = np.asarray(under)
        return result

    def _warp(self, image):
        from PIL import Image

        return image.transform(self._size, Image.Transform.AFFINE, self._map, Image.Resampling.BILINEAR)
