"""A video's frames with their times, on the clock of its sound: any container, codec, size and frame rate FFmpeg reads.

    time of a frame = its presentation time stamp x time base - presentation time of the first sound sample

exact fractions; without sound 0 is the first frame. Nothing is made of the frame rate in the header: where it is missing, wrong or
variable the time stamps still say when a frame is shown. Frames come upright (rotation metadata applied), with square pixels, at
most LONG_SIDE wide or high, as RGB. Memory holds one frame, however long the file.
"""
import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipelines.prepare.report import Rejected, missing
from data_pipelines.prepare.whole import EARLY_END, check_tail, tagged_seconds

ENDINGS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".3gp", ".ogv")
LONG_SIDE = 1280  # pixels; face trackers look at a few hundred


@dataclasses.dataclass(frozen=True)
class Video:
    """What the header says."""

    path: Path
    fps: Fraction | None  # average, as stated; only for people
    seconds: float | None  # of the frames, as stated
    has_sound: bool
    origin: Fraction  # presentation time that the clip's 0 s stands for


def probe(path: Path) -> Video:
    """Opens the file and reads its header. Raises Rejected: no such file, no video in it."""
    path = Path(path)
    with _open(path) as container:
        stream = container.streams.video[0]
        sound = container.streams.audio[0] if container.streams.audio else None
        origin = _first_time(sound) if sound is not None else None
        if origin is None:
            origin = _first_time(stream) or Fraction(0)
        rate, base = stream.average_rate, stream.time_base
        if container.format.name == "avi":  # its duration is what is there
            seconds = float(stream.frames * base) or None
        else:
            tagged = tagged_seconds(stream.metadata.get("DURATION", ""))
            seconds = float(stream.duration * base) if stream.duration and base else tagged
        return Video(path, Fraction(rate) if rate else None, seconds, sound is not None, origin)


def frames(video: Video, start: float = 0.0, end: float | None = None) -> Iterator[tuple[Fraction, UInt8[np.ndarray, "H W 3"]]]:
    """(seconds, picture) of every frame shown between `start` and `end`, and one on either side of them, in order.

    Raises:
      Rejected: damaged or truncated video, frames without times.
    """
    low, high = Fraction(start), None if end is None else Fraction(end)
    last = before = None
    with _open(video.path) as container:
        stream = container.streams.video[0]
        aspect = float(stream.sample_aspect_ratio or 1) or 1.0
        stream.thread_type = "NONE"  # of preparation's many processes, each has a core
        if start > 0:
            container.seek(int((low + video.origin - 1) / stream.time_base), stream=stream)
        for number, frame in enumerate(_decoded(container, stream, video)):
            time = _time(frame, number, video, stream)
            if last is not None and time <= last:
                continue  # shown never or twice
            last = time
            if time < low:
                before = time, frame
                continue
            if before is not None:
                yield before[0], _picture(before[1], aspect)
                before = None
            yield time, _picture(frame, aspect)
            if high is not None and time >= high:
                return
    if before is not None:
        yield before[0], _picture(before[1], aspect)
    check_tail(video.path, "truncated video")
    if last is None:
        raise Rejected("damaged video", f"{video.path}: not one frame of it can be decoded")
    wanted = video.seconds if high is None or video.seconds is None else min(float(high), video.seconds)
    if wanted is not None and float(last) < wanted - EARLY_END:
        said = f"its frames end at {float(last):.2f} s of the {video.seconds:.2f} s it states"
        raise Rejected("truncated video", f"{video.path}: {said}")


def _decoded(container, stream, video: Video) -> Iterator:
    import av

    try:
        yield from container.decode(stream)
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Rejected("damaged video", f"{video.path}: it cannot be decoded to its end ({reason})") from None


def _time(frame, number: int, video: Video, stream) -> Fraction:
    if frame.pts is not None:
        return frame.pts * Fraction(frame.time_base or stream.time_base) - video.origin
    if not video.fps:
        raise Rejected("bad frame rate", f"{video.path}: its frames have no times and its header no frame rate")
    return number / video.fps


def _picture(frame, aspect: float) -> np.ndarray:
    wide, high = frame.width * aspect, frame.height
    scale = min(1.0, LONG_SIDE / max(wide, high))
    size = {} if scale == 1 and aspect == 1 else {"width": max(2, round(wide * scale)), "height": max(2, round(high * scale))}
    picture = frame.to_ndarray(format="rgb24", **size)
    turns = round(frame.rotation / 90) % 4  # degrees to turn counter-clockwise for an upright picture
    return np.ascontiguousarray(np.rot90(picture, turns))


def _first_time(stream) -> Fraction | None:
    if stream.start_time is None or not stream.time_base:
        return None
    return stream.start_time * Fraction(stream.time_base)


def _open(path: Path):
    import av

    if not path.is_file():
        raise missing(path)
    try:
        container = av.open(str(path))
    except PermissionError:
        raise Rejected("cannot be read", f"{path}: Permission denied") from None
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Rejected("not video", f"{path}: no video that can be read ({reason})") from None
    if not container.streams.video:
        container.close()
        raise Rejected("not video", f"{path}: there are no pictures in it")
    return container
