"""A picture file as upright 8-bit RGB, and a video's frames at a constant rate: what faces are taken from."""
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipelines.prepare import video_reader
from data_pipelines.prepare.report import Rejected, missing

LONG_SIDE = 1280  # pixels, as LivePortrait limits its sources
SMALLEST = 64  # pixels of the shorter side; M sees 256


def is_video(path: str | Path) -> bool:
    """Whether a file is a video: one by its ending, or one that FFmpeg opens and that is no picture by ending or content."""
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() in video_reader.ENDINGS:
        return True
    if path.suffix.lower() in Image.registered_extensions() or not path.is_file():
        return False
    try:
        with Image.open(path):
            return False
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return video_reader.opens(path)


def read_picture(path: str | Path) -> tuple[UInt8[np.ndarray, "H W 3"], list[str]]:
    """The picture and notes on what was changed.

    It is turned as its EXIF data say; other colours become RGB, 16 bits 8, large ones smaller, sides even (H.264 needs that: the
    last row or column is cut off).

    Raises:
      Rejected: no such file, no picture, too small a one.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path, notes = Path(path), []
    if not path.is_file():
        raise missing(path)
    try:
        with Image.open(path) as file:
            if getattr(file, "n_frames", 1) > 1:
                notes.append(f"frames: the first of {file.n_frames}")
            deep = ";16" in str(file.tile)  # Pillow has no mode for it
            image = ImageOps.exif_transpose(file)
            if file.getexif().get(0x0112, 1) != 1:
                notes.append("turned: as its EXIF data say")
            image.load()
    except UnidentifiedImageError:
        raise Rejected("not a picture", f"{path}: not a picture that can be read") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Rejected("not a picture", f"{path}: a damaged picture, or one too large ({error})") from None
    if image.mode == "RGB" and deep:
        notes.append("colours: 16 bits to 8")
    if image.mode != "RGB":
        notes.append(f"colours: {image.mode} to RGB")
        if image.mode == "F" and not np.isfinite(np.asarray(image)).all():
            raise Rejected("not a picture", f"{path}: some of its values are not finite numbers (NaN or infinite)")
        image = _rgb(image)
    wide, high = image.size
    check_size(path, wide, high)
    if max(wide, high) > LONG_SIDE:
        if LONG_SIDE * min(wide, high) < SMALLEST * max(wide, high):
            said = f"{wide} x {high} pixels; when the longer side is {LONG_SIDE}, a face still needs {SMALLEST}"
            raise Rejected("too small", f"{path}: {said}")
        scale = LONG_SIDE / max(wide, high)
        image = image.resize((max(2, round(wide * scale)), max(2, round(high * scale))), Image.Resampling.LANCZOS, reducing_gap=3.0)
        notes.append(f"size: {wide} x {high} to {image.width - image.width % 2} x {image.height - image.height % 2}")
    return even(np.asarray(image)), notes


def check_size(path: Path, wide: int, high: int) -> None:
    """Raises Rejected: too small for a face."""
    if min(wide, high) < SMALLEST:
        raise Rejected("too small", f"{path}: {wide} x {high} pixels; a face needs at least {SMALLEST}")


def _rgb(image):
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":  # 16 bits and more a pixel, grey
        values = np.asarray(image).astype(np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        return Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def even(picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Without the last row or column of an odd number."""
    height, width = picture.shape[:2]
    return picture[: height - height % 2, : width - width % 2]


def at_rate(video: video_reader.Video, fps: Fraction) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The video's frames as they would be shown at a constant rate, from 0 s on: picture i is the one on show at (i + 1/2) / fps.

    Whatever the file's own rate, constant or not, picture i belongs to second i / fps; they end with the last frame (its own
    duration counts): there are as many as the nearest whole number to that end x fps, but at least one. Raises Rejected as
    video_reader.frames.
    """
    return (picture for _, picture in numbered_at_rate(video, fps))


def numbered_at_rate(
    video: video_reader.Video, fps: Fraction, before: int = 0
) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
    """(number of the frame in the file, picture), from picture -`before` on, which belongs to a time before the sound.

    Raises Rejected: the sound begins after the last picture.
    """
    index = -before
    half, frame, picture = Fraction(1, 2), None, None
    for frame in video_reader.shown(video, min(video.first, Fraction(0))):
        picture = even(frame.picture)
        while (index + half) / fps < frame.end:
            yield frame.number, picture
            index += 1
    if index > 0:
        return
    if before or frame.end <= 0:
        said = f"its pictures end at {float(frame.end - video.first):.2f} s and its sound begins at {float(-video.first):.2f} s"
        raise Rejected("no pictures", f"{video.path}: {said}; they have to overlap, or the file to have no sound")
    yield frame.number, picture


def pictures_before(video: video_reader.Video, fps: Fraction) -> int:
    """How many pictures at a constant rate are shown before the sound begins: those whose middle is not before the first frame."""
    return max(0, math.floor(Fraction(1, 2) - video.first * fps))
