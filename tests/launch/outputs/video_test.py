"""The preview plays: right size, rate, number of frames, with sound of the right length."""
import av
import numpy as np
import pytest

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
