"""A video's frames with their times, on the clock of its sound: any container, codec, size and frame rate FFmpeg reads.

    time of a frame = its presentation time stamp x time base - presentation time of the first sound sample

exact fractions; without sound 0 is the first frame. Nothing is made of the frame rate in the header: where it is missing, wrong or
variable the time stamps still say when a frame is shown. A frame is shown until the next one is. The last one: where all frames
that an MP4 counts are there, until the end that it states; else for its own duration. Where a file gives none, FFmpeg makes it of
the header's frame rate: if not one frame is followed by the next in less than twice that time, the rate is nonsense and the last
frame is shown at least for as long as the one before it. Pictures that begin before the sound have times below 0. Frames come
upright (rotation metadata applied), with square pixels, at most LONG_SIDE wide or high, as RGB.
Memory holds two frames, however long the file.
"""
import dataclasses
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

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
    fps: Fraction | None  # average, as stated, if it is true or not
    first: Fraction  # when the first frame is shown, seconds
    end: Fraction | None  # when the last one no longer is, as stated
    has_sound: bool
    origin: Fraction  # presentation time that the clip's 0 s stands for


class Shown(NamedTuple):
    """A frame."""

    number: int  # in the file, from 0; in a part that begins later, from where reading began
    time: Fraction  # seconds, as `end`
    end: Fraction
    picture: UInt8[np.ndarray, "H W 3"]


def probe(path: Path) -> Video:
    """Opens the file and reads its header. Raises Rejected: no such file, no video in it."""
    path = Path(path)
    with _open(path) as container:
        stream = container.streams.video[0]
        sound = container.streams.audio[0] if container.streams.audio else None
        begin = _first_time(stream) or Fraction(0)
        origin = _first_time(sound) if sound is not None else None
        origin = begin if origin is None else origin
        stated = _stated_end(container, stream, begin)
        end = None if stated is None else stated - origin
        rate = stream.average_rate
        return Video(path, Fraction(rate) if rate else None, begin - origin, end, sound is not None, origin)


def opens(path: Path) -> bool:
    """Whether FFmpeg finds a video in a file, whatever its ending; stills (no duration, or its image2) and text (tty) are none."""
    try:
        with _open(Path(path)) as container:
            return container.duration is not None and container.format.name not in ("image2", "tty")
    except Rejected:
        return False


def frame_rate(video: Video) -> Fraction | None:
    """Frames a second: as stated, but where the time stamps say less than half or more than twice as many, so many.

    (Browsers state 1000.) That is a whole number or an NTSC rate (30000/1001) where it explains them to a millisecond. None: one
    frame, or none, has a time. The file is read to its end, not decoded. Raises Rejected: a damaged one.
    """
    import av

    count, low, high, base = 0, math.inf, -math.inf, Fraction(1)
    try:
        with _open(video.path) as container:
            for packet in container.demux(container.streams.video[0]):
                stamp = packet.dts if packet.pts is None else packet.pts
                if packet.size and stamp is not None:
                    count, low, high, base = count + 1, min(low, stamp), max(high, stamp), Fraction(packet.time_base)
    except av.FFmpegError as error:
        raise Rejected("damaged video", f"{video.path}: it cannot be read to its end ({error.strerror})") from None
    if count < 2 or low == high:
        return None
    seconds = (high - low) * base
    rate = (count - 1) / seconds
    if video.fps and rate < 2 * video.fps and video.fps < 2 * rate:
        return video.fps.limit_denominator(1001)
    near = min(Fraction(round(rate)), Fraction(1000 * round(rate), 1001), key=lambda other: abs(other - rate))
    return near if abs(near - rate) * seconds <= rate / 1000 else rate.limit_denominator(1001)


def frames(video: Video, start: float = 0.0, end: float | None = None) -> Iterator[tuple[Fraction, UInt8[np.ndarray, "H W 3"]]]:
    """(seconds, picture) of every frame shown between `start` and `end`, and one on either side of them, in order.

    Raises:
      Rejected: damaged or truncated video, frames without times.
    """
    return ((frame.time, frame.picture) for frame in shown(video, start, end))


def shown(video: Video, start: float | Fraction = 0.0, end: float | None = None) -> Iterator[Shown]:
    """The same with the frames' numbers and ends; `start` may lie before the sound, at `video.first`."""
    low, high = Fraction(start), None if end is None else Fraction(end)
    last = None  # (number, time, frame) of the last one read, whose end is the next one's time
    gap, believed = Fraction(0), False  # how long the one before it was shown; whether a stated duration came near its gap
    with _open(video.path) as container:
        stream = container.streams.video[0]
        aspect = float(stream.sample_aspect_ratio or 1) or 1.0
        stream.thread_type = "NONE"  # of preparation's many processes, each has a core
        if start > 0:
            container.seek(int((low + video.origin - 1) / stream.time_base), stream=stream)
        number = -1
        for number, frame in enumerate(_decoded(container, stream, video)):
            time = _time(frame, number, video, stream)
            if last is not None:
                if time <= last[1]:
                    continue  # shown never or twice
                if time >= low:
                    yield Shown(last[0], last[1], time, _picture(last[2], aspect))
                gap = time - last[1]
                believed = believed or gap < 2 * _duration(last[2], stream)
            last = number, time, frame
            if high is not None and time >= high:
                break
        if last is None:
            check_tail(video.path, "truncated video")
            raise Rejected("damaged video", f"{video.path}: not one frame of it can be decoded")
        whole = container.format.name.startswith("mov") and start <= 0 and number + 1 == stream.frames
        if whole and video.end is not None and video.end > last[1]:
            until = video.end
        else:
            until = last[1] + _lasts(last[1], _duration(last[2], stream), gap, believed, video)
    yield Shown(last[0], last[1], until, _picture(last[2], aspect))
    if high is not None and last[1] >= high:
        return
    check_tail(video.path, "truncated video")
    wanted = video.end if high is None or video.end is None else min(high, video.end)
    if wanted is not None and float(until) < float(wanted) - EARLY_END:
        said = f"its frames end at {float(until):.2f} s of the {float(video.end):.2f} s it states"
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


def _duration(frame, stream) -> Fraction:
    """As stated; 0: it is not."""
    return (frame.duration or 0) * Fraction(frame.time_base or stream.time_base)


def _lasts(time: Fraction, stated: Fraction, gap: Fraction, believed: bool, video: Video) -> Fraction:
    """How long the last frame is shown; `gap`: how long the one before it was, 0: there is none."""
    if stated and (believed or not gap):
        return stated
    if not gap:
        return 1 / video.fps if video.fps else Fraction(0)
    if stated or video.end is None or video.end <= time:
        return max(stated, gap)
    return min(gap, video.end - time)


def _stated_end(container, stream, begin: Fraction) -> Fraction | None:
    """Presentation time at which the frames end, by the header."""
    base = Fraction(stream.time_base or 0)
    if container.format.name == "avi":  # its duration is what is there
        return begin + stream.frames * base if stream.frames * base else None
    if stream.duration and base:
        return begin + stream.duration * base
    tagged = tagged_seconds(stream.metadata.get("DURATION", ""))  # Matroska's counts from 0, not from the first frame
    return None if tagged is None else Fraction(tagged).limit_denominator(10**9)


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
