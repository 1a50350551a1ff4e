"""The preview: face, mel with a playhead and mouth curve at 25 frames a second, H.264 and AAC in one MP4 that plays anywhere.

Frame i shows the motion frame i, so picture and sound start together at 0 s.
"""
import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from jamflow_jax.timeline import HOP, MOTION_FPS, SAMPLE_RATE
from launch.outputs import palette, provenance
from launch.outputs.clip import Clip, Curve, spans
from launch.outputs.face import Painter, Sketch

WIDTH, HEIGHT = 704, 368  # pixels, both multiples of 16: whole macroblocks
BLOCK = 1024  # samples, as AAC has them
BT709, TV_RANGE = 1, 1  # FFmpeg's numbers: of its primaries, curve and matrix; of luma from 16 to 235
_OVERSAMPLE = 2  # drawn larger and scaled down: smooth edges
_FACE_RIGHT = 292  # the face's column ends here
_LEFT, _RIGHT = 312, 688  # the plots' columns; without a face they start at _ALONE
_ALONE = 24
_MEL = (44, 190)  # rows of the mel
_CURVE = (222, 322)  # rows of the mouth curve; the other plot's too where one stream is missing


def write_mp4(
    path: str | Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    audio: Float[np.ndarray, "N"] | Iterable[Float[np.ndarray, "n"]] | None = None,
    fps: int | Fraction = MOTION_FPS, rate: int = SAMPLE_RATE, mark: str | None = provenance.GENERATED, crf: int = 23,
    lead: int = 0,
) -> int:
    """Writes RGB frames and mono sound as H.264 (yuv420p, BT.709) and AAC, the index first so that browsers start at once.

    Frames and sound (an array, or blocks of any size) are taken as they are needed, side by side: memory holds a few of each. The
    sound ends with the last picture, if not before.

    Args:
      mark: who made it, for the container's metadata (provenance.py); None leaves it unmarked.
      crf: the quality, of x264: less is better and larger.
      lead: pictures before the sound begins.

    Returns:
      the number of frames.
    """
    import av

    fps, index = Fraction(fps), -1
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        if mark is not None:
            container.metadata["comment"] = mark
        video = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "veryfast", "threads": "1"})
        video.pix_fmt = "yuv420p"
        tags = video.codec_context
        tags.colorspace = tags.color_primaries = tags.color_trc = BT709
        tags.color_range = TV_RANGE
        sound = None
        if audio is not None:
            sound = container.add_stream("aac", rate=rate, layout="mono")
            sound.bit_rate = 96_000
        silence = np.zeros(round(lead * rate / fps), np.float32)
        blocks, heard = iter(()) if audio is None else _aac_blocks(silence, audio), 0
        for index, image in enumerate(frames):
            if index == 0:
                video.height, video.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = index, 1 / fps
            container.mux(video.encode(frame))
            while (heard + BLOCK) * fps <= (index + 1) * rate and (samples := next(blocks, None)) is not None:
                heard = _mux_sound(container, sound, samples, heard, rate)
        container.mux(video.encode(None))
        while (left := round((index + 1) * rate / fps) - heard) > 0 and (samples := next(blocks, None)) is not None:
            heard = _mux_sound(container, sound, samples[:left], heard, rate)
        if sound is not None:
            container.mux(sound.encode(None))
    return index + 1


def _aac_blocks(silence: np.ndarray, audio: np.ndarray | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Blocks of BLOCK samples; the last may be shorter."""
    held = np.zeros(0, np.float32)
    for part in itertools.chain((silence,), (audio,) if isinstance(audio, np.ndarray) else audio):
        held = np.concatenate([held, np.clip(np.asarray(part, np.float32), -1, 1)])
        whole = len(held) // BLOCK * BLOCK
        yield from held[:whole].reshape(-1, BLOCK)
        held = held[whole:]
    if len(held):
        yield held


def _mux_sound(container, stream, samples: np.ndarray, start: int, rate: int) -> int:
    """Returns where the next block starts."""
    import av

    block = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    block.sample_rate, block.pts, block.time_base = rate, start, Fraction(1, rate)
    container.mux(stream.encode(block))
    return start + len(samples)


def mel_image(mel_TF: Float[np.ndarray, "T F"], floor: float | None = None) -> UInt8[np.ndarray, "F T 3"]:
    """A log-mel as an RGB picture, low bands at the bottom; colours span the clip's own range above `floor`."""
    import matplotlib

    mel = np.asarray(mel_TF, np.float32)
    low = np.percentile(mel, 2) if floor is None else floor
    high = max(float(np.percentile(mel, 99.7)), low + 1e-3)
    scaled = np.clip((mel.T[::-1] - low) / (high - low), 0, 1)
    return (matplotlib.colormaps[palette.MEL_MAP](scaled)[..., :3] * 255).astype(np.uint8)


def preview_frames(clip: Clip, sketch: Sketch | None, curve: Curve | None) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The preview's pictures, one per motion frame: face (if any) at the left, mel and mouth curve at the right."""
    return _Preview(clip, sketch, curve).frames()


class _Preview:
    """One clip's preview: the parts that stand still are drawn once."""

    def __init__(self, clip: Clip, sketch: Sketch | None, curve: Curve | None):
        self._clip, self._sketch, self._curve = clip, sketch, curve
        self._left = _ALONE if sketch is None else _LEFT
        self._count = max(1, -(-round(clip.seconds * MOTION_FPS * 1000) // 1000) if curve is None else len(curve.values_M))
        self._mel = (_MEL[0], _CURVE[1]) if curve is None else _MEL
        self._rows = (_MEL[0] + 28, _CURVE[1]) if clip.mel_TF is None else _CURVE

    def frames(self) -> Iterator[np.ndarray]:
        from PIL import Image, ImageDraw

        # The face is drawn twice as large and scaled down for smooth edges; the plots stand still and are scaled once.
        base = self._background().resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        k = _OVERSAMPLE
        panels = ([] if self._clip.mel_TF is None else [self._mel]) + ([] if self._curve is None else [self._rows])
        for index in range(self._count):
            image = base.copy()
            if self._sketch is not None:
                face = Image.new("RGB", (_FACE_RIGHT * k, HEIGHT * k), palette.rgb(palette.SLATE))
                painter = Painter(ImageDraw.Draw(face, "RGBA"), (_FACE_RIGHT / 2 * k, (HEIGHT / 2 + 8) * k), 222 * k)
                painter.paint(self._sketch, index)
                image.paste(face.reduce(k), (0, 0))
            draw = ImageDraw.Draw(image, "RGBA")
            x = self._left + (_RIGHT - self._left) * (index + 0.5) / self._count
            for top, bottom in panels:
                draw.line((x, top, x, bottom), fill=palette.rgb(palette.INK_DARK, 0.9), width=1)
            if self._curve is not None:
                x, y = (p / k for p in self._place(index))
                draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=palette.rgb(palette.MOTION_DARK))
            _text(draw, (_RIGHT, HEIGHT - 24), f"{index / MOTION_FPS:5.2f} s", "rm", 12, palette.INK_DARK, scale=1)
            yield np.asarray(image)

    def _background(self):
        from PIL import Image, ImageDraw

        k, clip, curve, left = _OVERSAMPLE, self._clip, self._curve, self._left
        image = Image.new("RGB", (WIDTH * k, HEIGHT * k), palette.rgb(palette.SLATE))
        draw = ImageDraw.Draw(image, "RGBA")
        _text(draw, (left, 22), _shorten(clip.title or clip.name, 52 if left == _LEFT else 92), size=13, colour=palette.INK_DARK)
        if clip.mel_TF is not None:
            top, bottom = self._mel
            share = min(1.0, len(clip.mel_TF) * HOP / SAMPLE_RATE / (self._count / MOTION_FPS))
            size = (round((_RIGHT - left) * share * k), (bottom - top) * k)
            image.paste(Image.fromarray(mel_image(clip.mel_TF)).resize(size, Image.Resampling.BICUBIC), (left * k, top * k))
            self._bar(draw, clip.mel_given_T, len(clip.mel_TF), share, bottom + 4, palette.AUDIO_DARK)
        if curve is not None:
            top, bottom = self._rows
            draw.line((left * k, bottom * k, _RIGHT * k, bottom * k), fill=palette.rgb(palette.RULE_DARK), width=k)
            _text(draw, (left, top - 10), curve.label, size=11)
            if curve.truth_M is not None:
                line = [self._place(i, curve.truth_M) for i in range(min(self._count, len(curve.truth_M)))]
                draw.line(line, fill=palette.rgb(palette.TRUTH_DARK), width=round(1.6 * k), joint="curve")
                _text(draw, (_RIGHT, top - 10), "recorded", anchor="rm", size=11, colour=palette.TRUTH_DARK)
            line = [self._place(i) for i in range(self._count)]
            draw.line(line, fill=palette.rgb(palette.MOTION_DARK), width=2 * k, joint="curve")
            self._bar(draw, clip.motion_given_M, self._count, 1.0, bottom + 5, palette.MOTION_DARK)
        x = left if left == _LEFT else left + 48  # players put their button into the corner
        for colour, label in self._legend():
            draw.rectangle((x * k, (HEIGHT - 27) * k, (x + 10) * k, (HEIGHT - 22) * k), fill=palette.rgb(colour))
            _text(draw, (x + 15, HEIGHT - 24), label, size=11)
            x += 34 + 7 * len(label)
        return image

    def _legend(self) -> list[tuple[str, str]]:
        clip, entries = self._clip, []
        masks = [(clip.mel_TF, clip.mel_given_T), (clip.motion_MD, clip.motion_given_M)]
        if any(there is not None and given is not None and np.any(given) for there, given in masks):
            entries.append((palette.GIVEN_DARK, "given"))
        for (there, given), colour, label in zip(masks, (palette.AUDIO_DARK, palette.MOTION_DARK), ("sound made", "motion made")):
            if there is not None and not (given is not None and np.all(given)):
                entries.append((colour, label))
        return entries

    def _place(self, index: int, values: np.ndarray | None = None) -> tuple[float, float]:
        """Pixel (of the larger drawing) of one frame of the curve."""
        curve = self._curve
        drawn = [curve.values_M] + ([] if curve.truth_M is None else [curve.truth_M])
        low, high = min(float(v.min()) for v in drawn), max(float(v.max()) for v in drawn)
        level = (float((curve.values_M if values is None else values)[index]) - low) / max(high - low, 1e-9)
        top, bottom = self._rows
        x = self._left + (_RIGHT - self._left) * (index + 0.5) / self._count
        return x * _OVERSAMPLE, (bottom - 4 - level * (bottom - top - 10)) * _OVERSAMPLE

    def _bar(self, draw, given: np.ndarray | None, frames: int, share: float, y: float, colour: str) -> None:
        """The strip under a plot that says which frames were given (grey) and which were made."""
        k, wide = _OVERSAMPLE, (_RIGHT - self._left) * share
        draw.rectangle((self._left * k, y * k, (self._left + wide) * k, (y + 4) * k), fill=palette.rgb(colour))
        for start, end in spans(np.zeros(frames, bool) if given is None else given):
            box = ((self._left + wide * start / frames) * k, y * k, (self._left + wide * end / frames) * k, (y + 4) * k)
            draw.rectangle(box, fill=palette.rgb(palette.GIVEN_DARK))


_fonts: dict[int, object] = {}


def _text(
    draw, at: tuple[float, float], text: str, anchor: str = "lm", size: int = 11, colour: str = palette.FAINT_DARK,
    scale: int = _OVERSAMPLE,
) -> None:
    from PIL import ImageFont

    if size * scale not in _fonts:
        _fonts[size * scale] = ImageFont.truetype(str(palette.font_file()), size * scale)
    draw.text((at[0] * scale, at[1] * scale), text, font=_fonts[size * scale], fill=palette.rgb(colour), anchor=anchor)


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
