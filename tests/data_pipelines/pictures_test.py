"""Pictures of every kind become upright RGB or one clear line; a video's frames come at the rate that is asked for."""
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from data_pipelines.prepare import video_reader
from data_pipelines.prepare.audio_stream import stream_audio
from data_pipelines.prepare.pictures import at_rate, is_video, numbered_at_rate, pictures_before, read_picture
from data_pipelines.prepare.report import Rejected
from jamflow_jax.errors import InputError
from launch.outputs.video import write_mp4


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


@pytest.fixture
def picture():
    array = np.zeros((80, 100, 3), np.uint8)
    array[:40] = (250, 10, 10)
    return array


def test_exif_turns_it(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    got, notes = read_picture(save(tmp_path / "a.png", picture, exif=exif))
    assert got.shape == (100, 80, 3) and got[50, 70, 0] == 250 and got[50, 10, 0] == 0  # the top is at the right now
    assert any(note.startswith("turned") for note in notes)


def test_other_colours_become_rgb(tmp_path, picture):
    for mode, name in (("CMYK", "a.jpg"), ("L", "a.png"), ("P", "b.png"), ("RGBA", "c.png")):
        got, notes = read_picture(save(tmp_path / name, picture, mode))
        assert got.shape == picture.shape and got.dtype == np.uint8 and notes
        assert got[10].mean() > got[70].mean() + 20
    deep = (np.arange(80 * 100).reshape(80, 100) * 8).astype(np.uint16)
    got, notes = read_picture(save(tmp_path / "d.png", deep))
    np.testing.assert_allclose(got[..., 0], deep / 65535 * 255, atol=1)


def test_sizes(tmp_path, picture):
    got, _ = read_picture(save(tmp_path / "a.png", picture[:79, :99]))
    assert got.shape == (78, 98, 3)
    got, notes = read_picture(save(tmp_path / "b.png", np.zeros((1000, 2560, 3), np.uint8)))
    assert got.shape == (500, 1280, 3) and notes
    with pytest.raises(Rejected, match="40 x 30 pixels; a face needs at least 64"):
        read_picture(save(tmp_path / "c.png", picture[:30, :40]))


def test_a_strip_is_too_small_once_it_is_scaled(tmp_path):
    with pytest.raises(Rejected, match="4000 x 70 pixels; when the longer side is 1280, a face still needs 64"):
        read_picture(save(tmp_path / "a.png", np.zeros((70, 4000, 3), np.uint8)))


def test_sixteen_bits_of_three_colours_are_said(tmp_path, picture):
    deep = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="rgb48be")
    with av.open(str(tmp_path / "a.png"), "w", format="image2") as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt, deep.pts = 100, 80, "rgb48be", 0
        for packet in (*stream.encode(deep), *stream.encode(None)):
            file.mux(packet)
    got, notes = read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(got.astype(int), picture, atol=3)
    assert notes == ["colours: 16 bits to 8"]


def test_values_that_are_no_numbers_are_refused(tmp_path):
    values = np.full((80, 100), 0.5, np.float32)
    values[3, 4] = np.nan
    with pytest.raises(Rejected, match="a.tif: some of its values are not finite"):
        read_picture(save(tmp_path / "a.tif", values))


def test_the_size_that_is_used_is_said(tmp_path):
    got, notes = read_picture(save(tmp_path / "a.png", np.zeros((1000, 1501, 3), np.uint8)))
    assert got.shape == (852, 1280, 3) and notes == ["size: 1501 x 1000 to 1280 x 852"]


@pytest.mark.parametrize("name", ["a.m2ts", "a.vob", "a.mxf", "a", "a.mp4"])
def test_a_video_is_one_whatever_its_ending(tmp_path, make_video, grey, name):
    times = [i / 25 for i in range(50)]
    make_video(tmp_path / "a.ts", times, [grey(time / 2) for time in times]).rename(tmp_path / name)
    assert is_video(tmp_path / name)


def test_what_is_no_video(tmp_path, picture, video):
    assert not is_video(save(tmp_path / "a.png", picture)) and not is_video(tmp_path / "none.m2ts") and not is_video(tmp_path)
    save(tmp_path / "b.png", picture).rename(tmp_path / "b.m2ts")
    save(tmp_path / "a.bmp", picture).rename(tmp_path / "c")
    still = save(tmp_path / "a.avif", picture).read_bytes()  # FFmpeg opens it as an MP4
    (tmp_path / "d.heic").write_bytes(still[:8] + b"heic" + b"\0\0\0\0heicmif1" + still[24:])
    (tmp_path / "e.txt").write_text("no picture\n" * 100)
    (tmp_path / "f.png").write_bytes(b"damaged")
    for name in ("b.m2ts", "c", "d.heic", "e.txt", "f.png"):
        assert not is_video(tmp_path / name)


def test_what_is_no_picture(tmp_path, picture):
    with pytest.raises(Rejected, match="a folder, no file"):
        read_picture(tmp_path)
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(InputError, match="not a picture"):
        read_picture(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="no such file"):
        read_picture(tmp_path / "none.jpg")
    whole = save(tmp_path / "b.png", np.random.default_rng(0).integers(0, 255, (80, 100, 3), np.uint8)).read_bytes()
    (tmp_path / "c.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        read_picture(tmp_path / "c.png")


@pytest.fixture
def video(tmp_path):
    frames = (np.full((64, 98, 3), 20 * i, np.uint8) for i in range(10))
    sound = 0.3 * np.sin(np.arange(24_000) * 0.05).astype(np.float32)
    write_mp4(tmp_path / "v.mp4", frames, sound, fps=10)
    return tmp_path / "v.mp4"


@pytest.mark.parametrize("fps, count", [(Fraction(10), 10), (Fraction(20), 20), (Fraction(5), 5), (Fraction(25), 25)])
def test_frames_at_a_rate(video, fps, count):
    seen = [int(frame.mean()) for frame in at_rate(video_reader.probe(video), fps)]
    np.testing.assert_allclose(seen, [20 * int((i + 0.5) / fps * 10) for i in range(count)], atol=8)


@pytest.mark.parametrize("own, seconds, fps, count", [
    (3, 2, 25, 50), (5, 2, 25, 50), (10, 2, 25, 50), (15, 2, 25, 50), (60, 2, 25, 50), (25, 3, 5, 15), (25, 1, 2, 2),
])  # fmt: skip
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_pictures_last_as_long_as_the_video(tmp_path, make_video, grey, own, seconds, fps, count, ending):
    times, codec = [i / own for i in range(own * seconds)], "libx264" if ending == "mp4" else "mpeg4"
    shades = [i / len(times) for i in range(len(times))]
    make_video(tmp_path / f"a.{ending}", times, map(grey, shades), codec=codec, frame_rate=own)
    seen = [frame.mean() / 255 for frame in at_rate(video_reader.probe(tmp_path / f"a.{ending}"), Fraction(fps))]
    assert len(seen) == count
    np.testing.assert_allclose(seen, [shades[int((i + 0.5) / fps * own + 1e-9)] for i in range(count)], atol=0.02)


def test_a_last_frame_that_is_held_is_shown_so_long(tmp_path, make_video, grey):
    make_video(tmp_path / "a.mp4", [i / 25 for i in range(10)], [grey(i / 10) for i in range(10)], last=0.8)
    seen = [frame.mean() / 255 for frame in at_rate(video_reader.probe(tmp_path / "a.mp4"), Fraction(25))]
    np.testing.assert_allclose(seen, [i / 10 for i in range(9)] + [0.9] * 20, atol=0.02)


def test_a_single_short_frame_is_shown_once(tmp_path, make_video, grey):
    make_video(tmp_path / "a.mkv", [0.0], [grey(0.5)], frame_rate=60)
    assert len(list(at_rate(video_reader.probe(tmp_path / "a.mkv"), Fraction(5)))) == 1


def test_pictures_before_the_sound_are_counted_and_can_be_had(tmp_path, make_video, grey):
    make_video(tmp_path / "a.mkv", [i / 25 for i in range(20)], [grey(i / 20) for i in range(20)], np.zeros(8_000), sound_from=0.24)
    video = video_reader.probe(tmp_path / "a.mkv")
    assert pictures_before(video, Fraction(25)) == 6 and pictures_before(video, Fraction(10)) == 2
    numbers, pictures = zip(*numbered_at_rate(video, Fraction(25), before=6))
    assert numbers == tuple(range(20))
    np.testing.assert_allclose([picture.mean() / 255 for picture in pictures], [i / 20 for i in range(20)], atol=0.02)
    assert [number for number, _ in numbered_at_rate(video, Fraction(25))] == list(range(6, 20))


@pytest.mark.parametrize("late", [0.02, 0.1, 0.3, 0.5])
def test_the_first_picture_is_kept_where_the_sound_is_half_a_frame_late(tmp_path, make_video, grey, late):
    times = [i / 25 for i in range(20)]
    video = video_reader.probe(make_video(tmp_path / "a.mkv", times, [grey(0.5)] * 20, np.zeros(16_000), sound_from=late))
    lead = pictures_before(video, Fraction(25))
    assert lead == late * 25 + 0.5 and [number for number, _ in numbered_at_rate(video, Fraction(25), lead)] == list(range(20))


def test_sound_after_the_last_picture_is_refused(tmp_path, make_video, grey):
    times = [i / 25 for i in range(20)]
    video = video_reader.probe(make_video(tmp_path / "a.mkv", times, [grey(0.5)] * 20, np.zeros(8_000), sound_from=2.0))
    for before in (0, pictures_before(video, Fraction(25))):
        with pytest.raises(Rejected, match="a.mkv: its pictures end at 0.80 s and its sound begins at 2.00 s"):
            list(numbered_at_rate(video, Fraction(25), before))


def test_sound_comes_in_blocks(video, tmp_path):
    blocks = list(stream_audio(video))
    assert abs(sum(map(len, blocks)) - 24_000) < 3_000 and len(blocks) > 5 and max(map(len, blocks)) <= 2048
    mute, empty = save(tmp_path / "a.png", np.zeros((64, 64), np.uint8)), tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros(0), 24_000)
    for path, says in ((tmp_path / "none.wav", "no such file"), (mute, "no sound"), (empty, "its sound is empty")):
        with pytest.raises(Rejected, match=says):
            stream_audio(path)
    with av.open(str(video)) as file:
        assert "AI-generated" in file.metadata["comment"]
