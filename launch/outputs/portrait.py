"""A talking portrait: a source picture or video moved by motion, frame by frame; what `render` and `sample --face` write."""
import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from data_pipelines.prepare import video_reader
from data_pipelines.prepare.pictures import check_size, even, is_video, numbered_at_rate, pictures_before, read_picture
from jamflow_jax.errors import InputError
from jamflow_jax.face import animate, crop, find
from jamflow_jax.face.animate import KEYPOINTS, Face
from jamflow_jax.face.crop import Crop, PasteBack
from jamflow_jax.face.find import Track
from jamflow_jax.face.networks import Networks, pad
from jamflow_jax.face.smoothing import Smoother
from jamflow_jax.motion.template import Template
from jamflow_jax.timeline import MOTION_FPS
from launch.outputs import provenance
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
      smooth: over time, of videos.
    """

    region: animate.Region | None = None
    relative: bool = True
    adapt: bool = True
    stitch: bool = True
    multiplier: float = 1.0
    paste: bool = True
    smooth: bool = True


@dataclasses.dataclass(frozen=True)
class Source:
    """A picture [H, W, 3], or the frames of a video, and where the face is (face/find.py)."""

    picture: np.ndarray | None
    video: video_reader.Video | None
    place: find.Place
    notes: tuple[str, ...] = ()

    def lead(self, fps: Fraction) -> int:
        """Pictures of a video before its sound begins, and with it motion and speech; the first motion frame is held until then."""
        return 0 if self.video is None else pictures_before(self.video, fps)


@dataclasses.dataclass(frozen=True)
class Drive:
    """Driving motion at a constant rate and the frame it is relative to; `still`: one frame, which a whole video takes on."""

    face: Face
    reference: Face
    fps: Fraction
    still: bool = False


def read_source(
    path: str | Path, box: Sequence[float] | None = None, landmarks: str | Path | None = None,
    detector: crop.Detector | None = None, fps: Fraction = Fraction(MOTION_FPS),
) -> Source:
    """Opens a picture or video and finds the face: by box, landmark track, detector, or else the middle of the picture.

    `fps`: of the motion, for the note on a sound that begins a picture or more after a video.

    Raises:
      InputError: neither picture nor video; no face where the detector looks.
    """
    path = Path(path)
    if is_video(path):
        video = video_reader.probe(path)
        place, notes = find.in_video(path, pictures_of(video), box, landmarks, detector)
        if pictures_before(video, fps):
            notes = [f"sound: begins {float(-video.first):.2f} s after the pictures; motion and speech begin with it", *notes]
        return Source(None, video, place, tuple(notes))
    picture, notes = read_picture(path)
    place, more = find.in_picture(path, picture, box, landmarks, detector)
    return Source(picture, None, place, (*notes, *more))


def pictures_of(video: video_reader.Video) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """All frames of the file, with even sides. Raises Rejected as they come: damaged, too small for a face."""
    for frame in video_reader.shown(video, min(video.first, Fraction(0))):
        picture = frame.picture
        check_size(video.path, picture.shape[1], picture.shape[0])
        yield even(picture)


def drive_of(template: Template, neutral_first: bool) -> Drive:
    """The driving motion of a template. `neutral_first`: frame 0 is only the reference and is not shown."""
    face = animate.from_template(template)
    reference = Face(*(a[:1] for a in face))
    if neutral_first:
        face = Face(*(a[1:] for a in face))
    elif len(face.exp) == 1:
        return Drive(face, reference._replace(exp=animate.closed_mouth()[None]), template.fps, still=True)
    return Drive(face, reference, template.fps)


@dataclasses.dataclass(frozen=True)
class Talker:
    """Draws the pictures of a result of `jamflow sample`. It raises InputError for motion of another space."""

    networks: Networks
    source: Source
    look: Look = Look()

    def __call__(self, clip: Clip) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        motion = Template.from_motion(clip.motion_MD, clip.space)
        return portrait_frames(self.networks, self.source, drive_of(motion, neutral_first=True), self.look)

    @property
    def lead(self) -> int:
        """Pictures before the first frame of the motion."""
        return self.source.lead(Fraction(MOTION_FPS))

    @property
    def mark(self) -> str:
        """For the metadata of what is drawn."""
        return mark_of(self.source)


def mark_of(source: Source) -> str:
    """Of a video's pictures, which are recorded, parts are made."""
    return provenance.GENERATED if source.video is None else provenance.COMPOSITE


def portrait_frames(networks: Networks, source: Source, drive: Drive, look: Look = Look()) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The pictures, `source.lead` before the motion begins and one for each of its frames (a video source may end earlier).

    Memory holds a batch.

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

    def drawn() -> Iterator[tuple[int, jax.Array]]:
        for start in range(0, len(drive.face.exp), networks.batch):
            driving = Face(*(a[start : start + networks.batch] for a in drive.face))
            yield len(driving.exp), networks.pictures(volume, x_s, move(face, x_s, driving, first, adapt))

    for (count, pictures), _ in _with_last(drawn()):  # the next batch is drawn while this one is pasted and encoded
        for picture in np.asarray(pictures)[:count]:
            yield picture if paste is None else paste(source.picture, picture)


def _of_video(networks: Networks, source: Source, drive: Drive, look: Look) -> Iterator[np.ndarray]:
    """M and the smoother run ahead of W and G by the frames that the smoother needs; those wait as pictures."""
    paste = _Paste(source, 2 * networks.size) if look.paste else None
    for (batch, pictures), _ in _with_last(_drawn(networks, source, drive, look)):
        for frame, place, picture in zip(batch.frames, batch.places, np.asarray(pictures)):
            yield picture if paste is None else paste(frame, place, picture)


def _drawn(networks: Networks, source: Source, drive: Drive, look: Look) -> Iterator[tuple["_Batch", jax.Array]]:
    """Batches of a video with the pictures of their faces."""
    move = _mover(networks, look, drive, video=True)
    still = drive.still or not look.smooth
    smoother, ready = Smoother(3 * KEYPOINTS + 9), np.zeros((0, 3 * KEYPOINTS + 9))
    waiting: collections.deque[_Batch] = collections.deque()
    for batch, last in _with_last(_batches(networks, source, drive)):
        goal = _target(batch.face, batch.driving, drive.reference, look.relative, True)
        batch = batch._replace(goal=goal)
        flat = np.concatenate([np.reshape(a, (len(a), -1)) for a in (goal.exp, goal.R)], 1)
        parts = [flat] if still else [smoother.push(flat)] + ([smoother.finish()] if last else [])
        ready = np.concatenate([ready, *parts])
        waiting.append(batch)
        while waiting and len(ready) >= len(waiting[0].frames):
            batch = waiting.popleft()
            count = len(batch.frames)
            values, ready = ready[:count].astype(np.float32), ready[count:]
            exp, R = values[:, : 3 * KEYPOINTS].reshape(-1, KEYPOINTS, 3), values[:, 3 * KEYPOINTS :].reshape(-1, 3, 3)
            x_s = np.asarray(_keypoints(batch.face))
            x_d = move(batch.face, x_s, batch.goal._replace(exp=exp, R=R))
            cuts = batch.cuts + batch.cuts[-1:] * (networks.batch - count)
            yield batch, networks.pictures(networks.volume(np.stack(cuts)), x_s, x_d)


class _Batch(NamedTuple):
    """Frames of a source video on their way: pictures, where the face is, its crops, its motion, what drives it and to where."""

    frames: list[np.ndarray]
    places: list[Crop]
    cuts: list[np.ndarray]
    face: Face
    driving: Face
    goal: Face | None = None


def _batches(networks: Networks, source: Source, drive: Drive) -> Iterator[_Batch]:
    """The frames with their own motion; as many as the motion and what is before it have, of a still one all."""
    place, lead = source.place, source.lead(drive.fps)
    shown = numbered_at_rate(source.video, drive.fps, lead)
    shown = shown if drive.still else itertools.islice(shown, lead + len(drive.face.exp))
    for start, chunk in _chunks(shown, networks.batch):
        numbers, held = map(list, zip(*chunk))
        indices = np.arange(start - lead, start - lead + len(held))
        rows = 0 * indices if drive.still else np.maximum(indices, 0)
        if isinstance(place, Track):
            seconds = [(int(index) + Fraction(1, 2)) / drive.fps - source.video.first for index in indices]
            places = [place.at(*where) for where in zip(numbers, seconds)]
        else:
            places = [place if isinstance(place, Crop) else place(frame) for frame in held]
        cuts = [crop.cut(frame, where, networks.size) for frame, where in zip(held, places)]
        face = next(networks.faces(cuts))
        _check(face)
        yield _Batch(held, places, cuts, face, Face(*(a[rows] for a in drive.face)))


class _Paste:
    """Faces back into frames; what depends on the place alone is made once for each place."""

    def __init__(self, source: Source, size: int):
        self._source, self._size, self._place, self._paste = source, size, None, None

    def __call__(self, frame: np.ndarray, place: Crop, picture: np.ndarray) -> np.ndarray:
        if place != self._place:
            self._place, self._paste = place, PasteBack(place, frame.shape[1], frame.shape[0], self._size)
        return self._paste(frame, picture)


@functools.partial(jax.jit, static_argnames=("region", "relative", "video"))
def _moved(face: Face, driving: Face, reference: Face, region: animate.Region, relative: bool, video: bool):
    return animate.keypoints(animate.animate(face, driving, reference, region, relative, video))


_keypoints, _driven = jax.jit(animate.keypoints), jax.jit(animate.drive)
_target = jax.jit(animate.target, static_argnames=("relative", "video"))


@functools.partial(jax.jit, static_argnames="region")
def _selected(face: Face, goal: Face, region: animate.Region):
    return animate.keypoints(animate.select(face, goal, region, everything=False))


def _mover(networks: Networks, look: Look, drive: Drive, video: bool) -> Callable[..., np.ndarray]:
    """(source face, x_s, driving frames, of a video their targets, x_d,0, hull factor) -> x_d."""
    region = look.region or ("lip" if video else "all")
    stitching = networks.params["stitching"]["stitching"] if look.stitch else None

    def whole(array):  # one size for all, or the last batch would be compiled again
        return pad(np.asarray(array), networks.batch)

    def move(face: Face, x_s, driving: Face, first=None, adapt=None) -> np.ndarray:
        count = len(driving.exp)
        driving = Face(*map(whole, driving))
        if video:
            face, x_s = Face(*map(whole, face)), whole(x_s)
            x_d = _selected(face, driving, region)
        else:
            x_d = _moved(face, driving, drive.reference, region, look.relative, False)
        return np.asarray(_driven(x_s, x_d, first, adapt, stitching, look.multiplier))[:count]

    return move


def _chunks(items: Iterable, size: int) -> Iterator[tuple[int, list]]:
    """(index of the first, up to `size` items)."""
    items, start = iter(items), 0
    while held := list(itertools.islice(items, size)):
        yield start, held
        start += len(held)


def _with_last(items: Iterable) -> Iterator[tuple[object, bool]]:
    """(item, whether it is the last one)."""
    items = iter(items)
    held = next(items, None)
    while held is not None:
        following = next(items, None)
        yield held, following is None
        held = following


def _check(face: Face) -> None:
    if not all(np.isfinite(a).all() for a in face):
        raise InputError("the source's motion is not finite: the weights are not those of LivePortrait's networks")
