"""The preview plays: right size, rate, number of frames, with sound of the right length."""
import av
import numpy as np
import pytest

from data_pipelines.prepare import video_reader
from launch.outputs.clip import Clip, Curve, spans
from launch.outputs.face import Sketch, lips
from launch.outputs.video import HEIGHT, WIDTH, mel_image, preview_frames, write_mp4

M, T = 8, 30


def _clip(sound=True, motion=True):
    rng = np.random.default_rng(0)
    return Clip(
        "a", "a title", audio_N=rng.normal(size=(T - 1) * 256).astype(np.float32) * 0.1 if sound else None,
        mel_TF=rng.normal(size=(T, 100)).astype(np.float32) if sound else None, mel_given_T=np.arange(T) < 10,
        motion_MD=np.zeros((M, 2), np.float32) if motion else None, motion_given_M=np.arange(M) < 3,
    )


@pytest.mark.parametrize("sound, motion", [(True, True), (True, False), (False, True)])
def test_preview_has_one_picture_per_motion_frame(sound, motion):
    values = np.linspace(0, 0.2, M)
    clip, sketch, curve = _clip(sound, motion), Sketch(values, np.full(M, 0.4)), Curve("opening", values, values)
    frames = list(preview_frames(clip, sketch if motion else None, curve if motion else None))
    assert len(frames) == M
    assert all(f.shape == (HEIGHT, WIDTH, 3) and f.dtype == np.uint8 for f in frames)
    assert any((frames[0] != f).any() for f in frames[1:])


def test_mp4_round_trip(tmp_path):
    frames = [np.full((32, 48, 3), 20 * i, np.uint8) for i in range(M)]
    write_mp4(tmp_path / "a.mp4", frames, np.zeros(M * 960, np.float32))
    with av.open(str(tmp_path / "a.mp4")) as file:
        video, sound = file.streams.video[0], file.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height, float(video.average_rate)) == ("h264", 48, 32, 25)
        assert sound.codec_context.name == "aac" and sound.rate == 24_000
        seen = [f.to_ndarray(format="rgb24").mean() for f in file.decode(video=0)]
        assert len(seen) == M
        np.testing.assert_allclose(seen, [20 * i for i in range(M)], atol=6)
        assert float(sound.duration * sound.time_base) == pytest.approx(M * 960 / 24_000, abs=0.05)


def test_mel_image_has_low_bands_at_the_bottom():
    mel = np.zeros((5, 100))
    mel[:, :50] = 5
    picture = mel_image(mel)
    assert picture.shape == (100, 5, 3)
    assert picture[-1].mean() > picture[0].mean()


def test_lips_open_and_widen():
    outline, shut = lips(0.0, 0.4)
    _, gap = lips(0.1, 0.4)
    assert np.ptp(shut[:, 1]) < 1e-9 < np.ptp(gap[:, 1])
    assert np.ptp(lips(0.1, 0.5)[0][:, 0]) > np.ptp(outline[:, 0])


def test_spans_of_a_mask():
    assert spans(np.array([1, 1, 0, 1], bool)) == [(0, 2), (3, 4)]
    assert spans(np.zeros(3, bool)) == []


def test_colours_are_those_that_the_file_says(tmp_path):
    """BT.709 in 16 .. 235, by its tags and by its numbers; read with them, as `render` reads a source, they come back."""
    colours = np.array([(200, 30, 40), (20, 180, 60), (30, 60, 210), (255, 255, 255), (0, 0, 0), (230, 120, 20)], np.uint8)
    picture = np.broadcast_to(np.repeat(colours, 32, 0), (32, 192, 3))
    write_mp4(tmp_path / "a.mp4", [picture] * 3, crf=5)
    with av.open(str(tmp_path / "a.mp4")) as file:
        frame = next(file.decode(video=0))
        codec = file.streams.video[0].codec_context
        for tagged in (frame, codec):
            assert (tagged.colorspace, tagged.color_primaries, tagged.color_trc, tagged.color_range) == (1, 1, 1, 1)  # ISO 23001-8
    luma = frame.to_ndarray()[16, 16::32].astype(float)
    np.testing.assert_allclose(luma, 16 + 219 / 255 * (colours @ [0.2126, 0.7152, 0.0722]), atol=2)
    _, back = next(video_reader.frames(video_reader.probe(tmp_path / "a.mp4")))
    np.testing.assert_allclose(back[16, 16::32].astype(int), colours, atol=4)


def test_sound_begins_after_the_pictures_that_lead(tmp_path):
    tone = 0.5 * np.sin(np.arange(4_800)).astype(np.float32)
    for audio in (tone, iter(np.split(tone, 3)), None):
        write_mp4(tmp_path / "a.mp4", [np.zeros((32, 48, 3), np.uint8)] * 10, audio, lead=5)
        with av.open(str(tmp_path / "a.mp4")) as file:
            assert len(file.streams.audio) == (audio is not None)
            heard = [part.to_ndarray()[0] for part in file.decode(audio=0)] if audio is not None else [np.zeros(0)]
        assert audio is None or np.flatnonzero(np.abs(np.concatenate(heard)) > 0.2)[0] == pytest.approx(4_800, abs=50)
