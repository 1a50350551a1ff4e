"""Where the face is in a picture, or in every frame of a video: by box, by a landmark track, by a detector, or in the middle.

    box, middle   one place for all frames
    track         a place for each frame of the file, in its order; where it has none (not finite), that of the frame before
    detector      is asked about every frame. Of several faces the largest is taken, from then on the one nearest to where it was;
                  a frame without a face keeps the last place, those before the first face have the first one's
"""
import dataclasses
import functools
import importlib
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.face import crop
from jamflow_jax.face.crop import Crop, Detector
from jamflow_jax.motion.resample import frame_rate

SEARCH = 250  # frames of a video in which a detector must have seen a face

Picture = UInt8[np.ndarray, "H W 3"]


@dataclasses.dataclass(frozen=True)
class Track:
    """A place for every frame of a landmark file; `fps` None: one for each frame of the video, whatever its rate or its sound."""

    places: tuple[Crop, ...]
    name: str
    fps: Fraction | None = None

    def at(self, number: int, seconds: Fraction) -> Crop:
        """The place in frame `number` of the video's file, as it is shown `seconds` after the first one.

        Raises:
          InputError: the track is shorter than the video.
        """
        row = number if self.fps is None else max(0, math.floor(seconds * self.fps))
        if row > len(self.places) + 1:  # one that is shorter by two keeps its last place
            raise InputError(f"{self.name}: the face's track has {len(self.places)} frames, the video more")
        return self.places[min(row, len(self.places) - 1)]


class Follow:
    """A detector's places in one video, frame by frame in order.

    Attributes:
      seen, several, asked: frames with a face, with more than one, and all.
    """

    def __init__(self, detector: Detector, framing: tuple[float, float] = crop.SOURCE, turn: bool = True):
        self._detector, self._framing, self._turn = detector, framing, turn
        self._last: np.ndarray | None = None
        self._first: Crop | None = None
        self._place: Crop | None = None
        self.asked = self.seen = self.several = 0

    def look(self, picture: Picture) -> Crop | None:
        """The place in the next frame; None: it shows no face."""
        faces = [np.asarray(face, np.float64)[:, :2] for face in self._detector(picture)]
        self.asked, self.seen, self.several = self.asked + 1, self.seen + bool(faces), self.several + (len(faces) > 1)
        if not faces:
            return None
        if self._last is None:
            face = max(faces, key=lambda face: np.ptp(face, axis=0).prod())
        else:
            face = min(faces, key=lambda face: np.linalg.norm(face.mean(0) - self._last.mean(0)))
        self._last = face
        self._place = crop.from_landmarks(face, framing=self._framing, turn=self._turn)
        return self._place

    def search(self, frames: Iterable[Picture], path: Path) -> list[str]:
        """Looks for the first face, before the frames are followed from their beginning; notes.

        Raises:
          InputError: none of the first SEARCH frames shows one.
        """
        for index, picture in enumerate(frames):
            if index == SEARCH:
                break
            if self.look(picture) is not None:
                notes = [] if index == 0 else [f"face: the first is in frame {index}; its place is used before"]
                many = len(list(self._detector(picture))) if self.several else 1
                self._first, self._last, self._place = self._place, None, None
                self.asked = self.seen = self.several = 0
                return notes + ([several(many)] if many > 1 else [])
        raise InputError(
            f"{path}: the detector finds no face in the first {self.asked} frames; give --box LEFT,TOP,RIGHT,BOTTOM of it in pixels"
        )

    def __call__(self, picture: Picture) -> Crop:
        """The place in the next frame, for a frame without a face that of the last one."""
        return self.look(picture) or self._place or self._first

    @property
    def lost(self) -> str | None:
        """What to say about frames without a face."""
        missing = self.asked - self.seen
        return f"face: not seen in {missing} of {self.asked} frames, which keep the last place" if missing else None


Place = Crop | Track | Follow


def several(count: int) -> str:
    """A note."""
    return f"faces: {count} found, the largest is taken (--box chooses another)"


def in_picture(
    path: Path, picture: Picture, box: Sequence[float] | None = None, landmarks: str | Path | None = None,
    detector: Detector | None = None, framing: tuple[float, float] = crop.SOURCE, turn: bool = True,
) -> tuple[Crop, list[str]]:
    """Where the face is in a picture, and notes. Raises InputError: no face, a box outside the picture."""
    place = given(path, picture, box, landmarks, framing, turn)
    if place is not None:
        return (place.places[0] if isinstance(place, Track) else place), []
    if detector is None:
        return crop.from_centre(picture.shape[1], picture.shape[0]), []
    follow = Follow(detector, framing, turn)
    place, found = follow.look(picture), follow.several
    if place is None:
        raise InputError(f"{path}: the detector finds no face; give --box LEFT,TOP,RIGHT,BOTTOM of it in pixels")
    return place, [several(len(list(detector(picture))))] if found else []


def in_video(
    path: Path, frames: Iterator[Picture], box: Sequence[float] | None = None, landmarks: str | Path | None = None,
    detector: Detector | None = None, framing: tuple[float, float] = crop.SOURCE, turn: bool = True,
) -> tuple[Place, list[str]]:
    """Where the face is in a video, and notes; of `frames` no more are read than are needed, without a detector one.

    Raises:
      InputError: no face in the first SEARCH frames, a box outside the pictures, a bad track.
    """
    if detector is not None and box is None and landmarks is None:
        follow = Follow(detector, framing, turn)
        return follow, follow.search(frames, path)
    first = next(frames)
    place = given(path, first, box, landmarks, framing, turn)
    return place or crop.from_centre(first.shape[1], first.shape[0]), []


def given(
    path: Path, picture: Picture, box: Sequence[float] | None, landmarks: str | Path | None, framing: tuple[float, float],
    turn: bool,
) -> Crop | Track | None:
    """The place that a box or a track says."""
    height, width = picture.shape[:2]
    if box is not None:
        place = crop.from_box(box, framing)
        if not (0 <= box[0] + box[2] < 2 * width and 0 <= box[1] + box[3] < 2 * height):
            raise InputError(f"{path}: the face box {','.join(f'{v:g}' for v in box)} lies outside its {width} x {height} pixels")
        return place
    if landmarks is None:
        return None
    track = read_track(Path(landmarks), framing, turn)
    if not any(0 <= x < width and 0 <= y < height for x, y in (place.centre for place in track.places)):
        x, y = track.places[0].centre
        raise InputError(f"{landmarks}: the face is around {x:.0f},{y:.0f}, outside the {width} x {height} pixels of {path}")
    return track


def steady(place: Place, frames: Iterable[Picture]) -> Crop:
    """One upright square for a whole clip that only drives; a detector is asked about all of `frames`."""
    if isinstance(place, Crop):
        return place
    return crop.average(place.places if isinstance(place, Track) else [c for c in map(place.look, frames) if c is not None])


def read_track(path: Path, framing: tuple[float, float] = crop.SOURCE, turn: bool = True) -> Track:
    """The places of a landmark file: .npz with `landmarks` (or `motion`) [M, L, 2 or 3] in pixels and, of MediaPipe's, their `ids`;
    `fps`, where the frames are not those of the video.

    Raises:
      InputError: another file; no frame with a face.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("an .npy")
        with file:
            name = next((key for key in ("landmarks", "motion") if key in file.files), None)
            if name is None:
                raise InputError("no array `landmarks` in it")
            points = np.asarray(file[name], np.float64)
            ids = file["ids"].tolist() if "ids" in file.files else None
            fps = frame_rate(file["fps"]) if "fps" in file.files else None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        said = error if isinstance(error, InputError) else "not an .npz of landmarks"
        raise InputError(f"{path}: {said}") from None
    points = points[None] if points.ndim == 2 else points
    if points.ndim != 3 or not len(points) or points.shape[2] not in (2, 3):
        raise InputError(f"{path}: {name} has shape {points.shape}; needed [frames, points, 2 or 3]")
    return Track(_filled(points, ids, path, framing, turn), str(path), fps)


def _filled(
    points_MLA: Float[np.ndarray, "M L A"], ids: list[int] | None, path: Path, framing: tuple[float, float], turn: bool
) -> tuple[Crop, ...]:
    places: list[Crop | None] = []
    for index, frame in enumerate(points_MLA):
        if not np.isfinite(frame).all():
            places.append(places[-1] if places else None)
            continue
        try:
            places.append(crop.from_landmarks(frame, ids, framing, turn))
        except InputError as error:
            raise InputError(f"{path}: frame {index}: {error}") from None
    first = next((place for place in places if place is not None), None)
    if first is None:
        raise InputError(f"{path}: no face in any of its {len(places)} frames: the landmarks are not finite")
    return tuple(place or first for place in places)


def load_detector(text: str) -> Detector:
    """`package.module:function`, see crop.Detector. Raises ConfigError, when it is called too: what it did instead, in one line."""
    module, colon, name = text.partition(":")
    try:
        if not colon:
            raise ValueError("it is not MODULE:FUNCTION")
        function = getattr(importlib.import_module(module), name)
        if not callable(function):
            raise ValueError(f"{name} is no function")
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--detector {text}: {error}") from None
    return functools.partial(_ask, text, function)


def _ask(text: str, function: Detector, picture: Picture) -> list[Float[np.ndarray, "L A"]]:
    try:
        faces = [np.asarray(face, np.float64) for face in function(picture)]
    except Exception as error:  # it is the user's: anything can happen
        raise ConfigError(f"--detector {text}: {type(error).__name__}: {error}") from error
    for face in faces:
        if face.ndim != 2 or face.shape[1] not in (2, 3):
            raise ConfigError(f"--detector {text}: a face of shape {face.shape}; needed are arrays [points, 2]")
        try:
            crop.from_landmarks(face)
        except InputError as error:
            raise ConfigError(f"--detector {text}: {error}") from None
    return faces
