"""A talking portrait: a source picture or video moved by motion, frame by frame; what `render` and `sample --face` write."""
import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8

from data_pipelines.prepare import video_reader
from data_pipelines.prepare.pictures import at_rate, even, read_picture
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.face import animate, crop
from jamflow_jax.face.animate import Face
from jamflow_jax.face.crop import Crop, PasteBack
from jamflow_jax.face.networks import Networks, pad
from jamflow_jax.motion.template import Template
from launch.outputs.clip import Clip


@dataclasses.dataclass(frozen=True)
class Look:
    """How motion is applied; defaults are LivePortrait's.

    Attributes:
      region: None: all of a picture's face, of a video's only the lips (the paper's settings).
      relative: to the motion's first frame.
      adapt: scale the movement by the ratio of the faces' hulls (pictures only).
      stitch: keep shoulders and hair in place.
      multiplier: of the whole movement.
      paste: put the face back into its picture; False: the face alone, 512 x 512.
    """

    region: animate.Region | None = None
    relative: bool = True
    adapt: bool = True
    stitch: bool = True
    multiplier: float = 1.0
    paste: bool = True


@dataclasses.dataclass(frozen=True)
class Source:
    """A picture [H, W, 3], or the frames of a video, and where the face is: one place, or one for each frame."""

    picture: np.ndarray | None
    video: video_reader.Video | None
    place: Crop | Sequence[Crop]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Drive:
    """Driving motion at a constant rate and the frame it is relative to."""

    face: Face
    reference: Face
    fps: Fraction


def read_source(
    path: str | Path, box: Sequence[float] | None = None, landmarks: str | Path | None = None,
    detector: crop.Detector | None = None,
) -> Source:
    """Opens a picture or video and finds the face: by box, landmark track, detector, or else the middle of the picture.

    Raises:
      InputError: neither picture nor video; no face where the detector looks.
    """
    path = Path(path)
    if path.suffix.lower() in video_reader.ENDINGS:
        video = video_reader.probe(path)
        first = even(next(video_reader.frames(video))[1])
        place, notes = find_face(path, first, box, landmarks, detector)
        return Source(None, video, place, tuple(notes))
    picture, notes = read_picture(path)
    place, more = find_face(path, picture, box, landmarks, detector)
    if not isinstance(place, Crop):
        place = place[0]
    return Source(picture, None, place, (*notes, *more))


def find_face(
    path: Path, picture: UInt8[np.ndarray, "H W 3"], box: Sequence[float] | None, landmarks: str | Path | None,
    detector: crop.Detector | None, framing: tuple[float, float] = crop.SOURCE, turn: bool = True,
) -> tuple[Crop | list[Crop], list[str]]:
    """Where the face is, and notes. A detector looks at the first frame of a video; a track says every frame's place."""
    height, width = picture.shape[:2]
    if box is not None:
        place = crop.from_box(box, framing)
        if not (0 <= place.centre[0] < width and 0 <= box[1] < height and box[0] < width and box[2] > 0 and box[3] > 0):
            raise InputError(f"{path}: the face box {','.join(f'{v:g}' for v in box)} lies outside its {width} x {height} pixels")
        return place, []
    if landmarks is not None:
        return read_track(Path(landmarks), framing, turn), []
    if detector is None:
        return crop.from_centre(width, height), []
    faces = list(detector(picture))
    if not faces:
        raise InputError(f"{path}: the detector finds no face; give --box LEFT,TOP,RIGHT,BOTTOM of it in pixels")
    sizes = [np.ptp(np.asarray(face)[:, :2], axis=0).prod() for face in faces]
    notes = [f"faces: {len(faces)} found, the largest is taken (--box chooses another)"] if len(faces) > 1 else []
    return crop.from_landmarks(faces[int(np.argmax(sizes))], framing=framing, turn=turn), notes


def read_track(path: Path, framing: tuple[float, float] = crop.SOURCE, turn: bool = True) -> list[Crop]:
    """The places of a landmark file: .npz with `landmarks` (or `motion`) [M, L, 2 or 3] in pixels and, of MediaPipe's, their `ids`.

    Raises:
      InputError: another file; frames without a face (not finite).
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            name = next((key for key in ("landmarks", "motion") if key in file.files), None)
            if name is None:
                raise InputError(f"{path}: no array `landmarks` in it")
            points = np.asarray(file[name], np.float64)
            ids = file["ids"].tolist() if "ids" in file.files else None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not an .npz of landmarks") from None
    points = points[None] if points.ndim == 2 else points
    if points.ndim != 3 or not len(points) or points.shape[2] not in (2, 3):
        raise InputError(f"{path}: {name} has shape {points.shape}; needed [frames, points, 2 or 3]")
    places = []
    for index, frame in enumerate(points):
        try:
            places.append(crop.from_landmarks(frame, ids, framing, turn))
        except InputError as error:
            raise InputError(f"{path}: frame {index}: {error}") from None
    return places


def load_detector(text: str) -> crop.Detector:
    """`package.module:function`, see crop.Detector. Raises ConfigError."""
    module, colon, name = text.partition(":")
    try:
        if not colon:
            raise ValueError("it is not MODULE:FUNCTION")
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--detector {text}: {error}") from None


def drive_of(template: Template, neutral_first: bool) -> Drive:
    """The driving motion of a template. `neutral_first`: frame 0 is only the reference and is not shown."""
    face = animate.from_template(template)
    reference = Face(*(a[:1] for a in face))
    if neutral_first:
        face = Face(*(a[1:] for a in face))
    elif len(face.exp) == 1:
        reference = reference._replace(exp=animate.closed_mouth()[None])
    return Drive(face, reference, template.fps)


def talker(networks: Networks, source: Source, look: Look = Look()) -> Callable[[Clip], Iterator[UInt8[np.ndarray, "H W 3"]]]:
    """What draws the pictures of a result of `jamflow sample`. It raises InputError for motion of another space."""

    def talk(clip: Clip) -> Iterator[np.ndarray]:
        return portrait_frames(networks, source, drive_of(Template.from_motion(clip.motion_MD, clip.space), True), look)

    return talk


def portrait_frames(networks: Networks, source: Source, drive: Drive, look: Look = Look()) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The pictures, one for each frame of the motion (a video source may end earlier). Memory holds a batch.

    Raises:
      InputError: the source's face has no volume, or what comes out is not finite: weights that are not LivePortrait's.
    """
    yield from (_of_picture if source.video is None else _of_video)(networks, source, drive, look)


def _of_picture(networks: Networks, source: Source, drive: Drive, look: Look) -> Iterator[np.ndarray]:
    face_crop = crop.cut(source.picture, source.place, networks.size)
    face = next(networks.faces([face_crop]))
    _check(face)
    x_s, volume = np.asarray(_keypoints(face)), networks.volume(face_crop[None])
    paste = PasteBack(source.place, source.picture.shape[1], source.picture.shape[0], 2 * networks.size) if look.paste else None
    move = _mover(networks, look, drive, video=False)
    first = adapt = None
    if look.relative and look.adapt and len(drive.face.exp) > 1:
        first = np.asarray(_moved(face, drive.reference, drive.reference, look.region or "all", True, False))[0]
        adapt = animate.motion_multiplier(x_s[0], first)
    for start in range(0, len(drive.face.exp), networks.batch):
        driving = Face(*(a[start : start + networks.batch] for a in drive.face))
        for picture in networks.pictures(volume, x_s, move(face, x_s, driving, first, adapt)):
            yield picture if paste is None else paste(source.picture, picture)


def _of_video(networks: Networks, source: Source, drive: Drive, look: Look) -> Iterator[np.ndarray]:
    move = _mover(networks, look, drive, video=True)
    total = len(drive.face.exp)
    still = PasteBack(source.place, *_size(source), 2 * networks.size) if look.paste and isinstance(source.place, Crop) else None
    for start, frames in _chunks(at_rate(source.video, drive.fps), networks.batch, total):
        count = len(frames)
        places = [source.place] * count if isinstance(source.place, Crop) else list(source.place[start : start + count])
        if len(places) < count:
            raise InputError(f"{source.video.path}: its face's track has {len(source.place)} frames, the video more")
        cuts = [crop.cut(frame, place, networks.size) for frame, place in zip(frames, places)]
        face = next(networks.faces(cuts))
        _check(face)
        x_s = np.asarray(_keypoints(face))
        cuts += cuts[-1:] * (networks.batch - count)
        volume = networks.volume(np.stack(cuts))
        driving = Face(*(a[start : start + count] for a in drive.face))
        pictures = networks.pictures(volume, x_s, move(face, x_s, driving))
        for frame, place, picture in zip(frames, places, pictures):
            paste = still
            if look.paste and paste is None:
                paste = PasteBack(place, frame.shape[1], frame.shape[0], 2 * networks.size)
            yield picture if paste is None else paste(frame, picture)


@functools.partial(jax.jit, static_argnames=("region", "relative", "video"))
def _moved(face: Face, driving: Face, reference: Face, region: animate.Region, relative: bool, video: bool):
    return animate.keypoints(animate.animate(face, driving, reference, region, relative, video))


_keypoints, _driven = jax.jit(animate.keypoints), jax.jit(animate.drive)


def _mover(networks: Networks, look: Look, drive: Drive, video: bool) -> Callable[..., np.ndarray]:
    """(source face, x_s, driving frames, x_d,0, hull factor) -> x_d."""
    region = look.region or ("lip" if video else "all")
    stitching = networks.params["stitching"]["stitching"] if look.stitch else None

    def whole(array):  # one size for all, or the last batch would be compiled again
        return pad(np.asarray(array), networks.batch)

    def move(face: Face, x_s, driving: Face, first=None, adapt=None) -> np.ndarray:
        count = len(driving.exp)
        if video:
            face, x_s = Face(*map(whole, face)), whole(x_s)
        x_d = _moved(face, Face(*map(whole, driving)), drive.reference, region, look.relative, video)
        return np.asarray(_driven(x_s, x_d, first, adapt, stitching, look.multiplier))[:count]

    return move


def _size(source: Source) -> tuple[int, int]:
    height, width = even(next(video_reader.frames(source.video))[1]).shape[:2]
    return width, height


def _chunks(frames: Iterable[np.ndarray], size: int, total: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """(index of the first, up to `size` frames), of the first `total` frames."""
    held, start = [], 0
    for index, frame in enumerate(frames):
        if index == total:
            break
        held.append(frame)
        if len(held) == size:
            yield start, held
            held, start = [], index + 1
    if held:
        yield start, held


def _check(face: Face) -> None:
    if not all(np.isfinite(a).all() for a in face):
        raise InputError("the source's motion is not finite: the weights are not those of LivePortrait's networks")
