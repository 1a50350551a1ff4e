"""Tiny data sets: tones as speech, sine waves as lips."""
from fractions import Fraction

import numpy as np
import pytest

from data_pipelines.prepare.build import Example, build
from jamflow_jax.motion import space


def make_clip(i: int, seconds: float = 1.0, audio: bool = True, motion: bool = True, **changes) -> Example:
    rng = np.random.default_rng(i)
    t = np.arange(int(24_000 * seconds)) / 24_000
    frames = np.arange(round(25 * seconds))
    fields = dict(
        id=f"clip{i:02d}",
        audio=(0.3 * np.sin(2 * np.pi * (200 + 10 * i) * t) + rng.normal(0, 0.01, len(t))).astype(np.float32) if audio else None,
        motion=np.stack([np.sin(frames / 3 + i), rng.normal(size=len(frames))], 1).astype(np.float32),
        text=f"clip number {i}", speaker=f"s{i % 2}", split="train",
    )  # fmt: skip
    if not motion:
        fields["motion"] = None
    return Example(**(fields | changes))


@pytest.fixture(scope="session")
def clip():
    """The function that makes an example: clip(number, seconds, audio, motion, **other fields)."""
    return make_clip


@pytest.fixture(scope="session")
def mixed_set(tmp_path_factory):
    """24 clips of 0.5 to 1.6 s: with sound and motion, sound alone, motion alone; 3 shards."""
    out = tmp_path_factory.mktemp("sets") / "mixed"
    kinds = [(True, True), (True, True), (True, False), (False, True)]
    clips = (make_clip(i, 0.5 + i % 12 / 10, *kinds[i % 4], split="validation" if i >= 20 else "train") for i in range(24))
    build(clips, out, space.get("lips"), shard_examples=9)
    return out


def write_video(
    path, times, colours, sound=None, rate=16_000, sound_from=0.0, size=(96, 64), rotation=0, codec="mpeg4", frame_rate=25,
    last=None, muxer=None,
):
    """A video whose frame at times[i] (s, whole milliseconds) has one colour, or (left, right) colours; with or without sound.

    `last`: seconds that the last frame states to be shown for. `muxer`: options of the container.
    """
    import av

    with av.open(str(path), "w", options=muxer or {}) as file:
        video = file.add_stream(codec, rate=frame_rate)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.time_base = video.time_base = Fraction(1, 1000)
        video.codec_context.qmin = video.codec_context.qmax = 1
        if rotation:
            video.set_display_rotation(rotation)
        if sound is not None:
            audio = file.add_stream("aac" if path.suffix == ".mp4" else "pcm_s16le", rate=rate)
            audio.layout = "mono"
            frame = av.AudioFrame.from_ndarray((np.asarray(sound) * 32767).astype(np.int16)[None], "s16", "mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(sound_from * rate)
            file.mux(audio.encode(frame))
        packets = []
        for time, colour in zip(times, colours):
            left, right = colour if isinstance(colour[0], tuple) else (colour, colour)
            picture = np.empty((size[1], size[0], 3), np.uint8)
            picture[:, : size[0] // 2], picture[:, size[0] // 2 :] = left, right
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode(None)
        if last is not None:
            held = packets[-1] if path.suffix == ".mp4" else max(packets, key=lambda packet: packet.pts)  # MP4: in order of storing
            held.duration = round(last / held.time_base)
        file.mux(packets)
        if sound is not None:
            file.mux(audio.encode(None))
    return path


def shade(value: float) -> tuple[int, int, int]:
    return (round(255 * value),) * 3


@pytest.fixture(scope="session")
def make_video():
    """The function that writes a video: make_video(path, times, colours, sound, **how)."""
    return write_video


@pytest.fixture(scope="session")
def grey():
    """The function brightness 0..1 -> colour."""
    return shade


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Two seconds each; brightness 0.2 + 0.3 t. plain.mkv 25 fps, fast.mkv 50, wild.mkv at irregular times, late.mkv with sound
    from 0.2 s on, mute.mkv without sound, dark.mkv without a face, crowd.mkv with two in its second half, cut.mp4 broken off."""
    folder = tmp_path_factory.mktemp("videos") / "Gespräche und mehr"
    folder.mkdir()
    tone = 0.3 * np.sin(2 * np.pi * (np.arange(32_000) / 16_000 * 300) ** 1.1)  # no two parts of it are alike
    steps = np.random.default_rng(0).integers(15, 70, 200).cumsum() / 1000
    wild = [0.0, *steps[steps < 2.0]]

    def ramp(times):
        return [shade(0.2 + 0.3 * t) for t in times]

    at = {fps: [i / fps for i in range(2 * fps)] for fps in (25, 50)}
    write_video(folder / "plain.mkv", at[25], ramp(at[25]), tone)
    write_video(folder / "fast.mkv", at[50], ramp(at[50]), tone, frame_rate=50)
    write_video(folder / "wild.mkv", wild, ramp(wild), tone)
    write_video(folder / "late.mkv", at[25], ramp(at[25]), tone[:28_800], sound_from=0.2)
    write_video(folder / "mute.mkv", at[25], ramp(at[25]))
    write_video(folder / "dark.mkv", at[25], [shade(0)] * 50, tone)
    write_video(folder / "crowd.mkv", at[25], [shade(0.5)] * 25 + [(60, 128, 255)] * 25, tone)
    write_video(folder / "whole.mp4", at[25], ramp(at[25]), None, codec="libx264")
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "whole.mp4").unlink()
    (folder / "plain.txt").write_text("what is said\n", encoding="utf-8")
    return folder
