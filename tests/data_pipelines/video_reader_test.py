"""Frames and their times of small videos made here: frame rates, rotation, a sound that begins later, damage."""
from fractions import Fraction

import numpy as np
import pytest
import soundfile

from data_pipelines.prepare.audio_reader import read_audio
from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.segment import energies
from data_pipelines.prepare.video_reader import frame_rate, frames, probe, shown


def brightness(picture: np.ndarray) -> float:
    return float(picture.mean()) / 255


@pytest.mark.parametrize("name, count", [("plain.mkv", 50), ("fast.mkv", 100), ("wild.mkv", None), ("mute.mkv", 50)])
def test_every_frame_has_the_time_it_is_shown_at(videos, name, count):
    found = list(frames(probe(videos / name)))
    assert count in (None, len(found)) and found[0][1].shape == (64, 96, 3)
    assert all(abs(brightness(picture) - (0.2 + 0.3 * float(time))) < 0.02 for time, picture in found)


def test_time_counts_from_the_first_sound(videos):
    video = probe(videos / "late.mkv")
    assert video.has_sound and float(video.origin) == pytest.approx(0.2, abs=2e-3)
    time, picture = next(frames(video))  # the last before the sound begins
    assert float(time) == pytest.approx(-0.04, abs=2e-3) and brightness(picture) == pytest.approx(0.2 + 0.3 * 0.16, abs=0.01)
    assert not probe(videos / "mute.mkv").has_sound


def test_a_part_has_a_frame_on_either_side(videos):
    times = [float(time) for time, _ in frames(probe(videos / "plain.mkv"), 1.0, 1.2)]
    assert np.allclose(times, np.arange(24, 31) / 25, atol=1e-3)


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_the_last_frame_is_shown_for_its_duration(tmp_path, make_video, grey, ending, codec):
    """mpeg4's last frame is the last that is stored; x264's is stored before the last but one, to which MP4 gives its duration."""
    times = [i / 25 for i in range(20)]
    make_video(tmp_path / f"a.{ending}", times, [grey(0.5)] * 20, codec=codec, last=1.5)
    *_, last = shown(probe(tmp_path / f"a.{ending}"))  # and is not truncated
    wanted = (0.72 if (codec, ending) == ("libx264", "mp4") else 0.76) + 1.5
    assert last.number == 19 and float(last.time) == 0.76 and float(last.end) == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize("times, end", [
    ([0.0, 0.04, 0.08], 0.12),  # 1/1000 s each, by the header
    ([0.0, 2.0, 4.0], 6.0),
    ([0.0, 0.03, 0.08], 0.13),
])  # fmt: skip
def test_where_stated_durations_are_nonsense_the_last_frame_lasts_as_the_one_before(tmp_path, make_video, grey, times, end):
    make_video(tmp_path / "a.mkv", times, [grey(0.5)] * 3, frame_rate=1000)
    assert float([*shown(probe(tmp_path / "a.mkv"))][-1].end) == pytest.approx(end, abs=2e-3)


@pytest.mark.parametrize("name, muxer", [
    ("a.mkv", {}), ("a.ts", {}), ("a.avi", {}), ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
])  # fmt: skip
@pytest.mark.parametrize("hold", [0.08, 0.12, 2.24])
def test_a_frame_that_is_held_does_not_hold_the_last_one(tmp_path, make_video, grey, name, muxer, hold):
    times = [i / 25 for i in range(20)]
    make_video(tmp_path / name, [*times, times[-1] + hold], [grey(0.5)] * 21, muxer=muxer)
    *_, last = shown(probe(tmp_path / name))
    assert float(last.end - last.time) == pytest.approx(0.04, abs=2e-3)
    assert float(last.time) == pytest.approx(times[-1] + hold, abs=2e-3)


@pytest.mark.parametrize("stated, real, rate", [
    (1000, 25, 25), (1000, Fraction(30_000, 1001), Fraction(30_000, 1001)), (90, 12, 12), (25, Fraction(1, 5), Fraction(1, 5)),
    (30, 25, 30), (Fraction(30_000, 1001), 24, Fraction(30_000, 1001)),
])  # fmt: skip
def test_a_stated_frame_rate_is_believed_if_the_times_are_near_it(tmp_path, make_video, grey, stated, real, rate):
    times = [round(i / float(real), 3) for i in range(100)]
    make_video(tmp_path / "a.mkv", times, [grey(0.5)] * 100, frame_rate=stated)
    video = probe(tmp_path / "a.mkv")
    assert float(video.fps) == pytest.approx(float(stated), abs=1e-3) and frame_rate(video) == rate


def test_one_frame_has_no_rate(tmp_path, make_video, grey):
    make_video(tmp_path / "a.mkv", [0.0], [grey(0.5)], frame_rate=1000)
    assert frame_rate(probe(tmp_path / "a.mkv")) is None


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("late", [0.2, 0.7])
def test_a_sound_that_begins_later_does_not_make_pictures_truncated(tmp_path, make_video, grey, name, late):
    times, codec = [i / 25 for i in range(50)], "libx264" if name == "a.mp4" else "mpeg4"
    video = probe(make_video(tmp_path / name, times, [grey(0.5)] * 50, np.zeros(20_000), sound_from=late, codec=codec))
    late = float(video.origin)  # AAC begins a block before it
    every = list(shown(video, video.first))
    assert len(every) == 50 and float(every[0].time) == float(video.first) == pytest.approx(-late, abs=2e-3)
    assert float(video.end) == pytest.approx(2 - late, abs=2e-3) and [frame.number for frame in every] == list(range(50))
    assert [float(time) for time, _ in frames(video)] == [float(frame.time) for frame in every if frame.end >= 0]


@pytest.mark.parametrize("name, codec", [("a.mkv", "mpeg4"), ("a.mp4", "libx264")])
def test_pictures_may_begin_after_the_sound(tmp_path, make_video, grey, name, codec):
    times = [0.7 + i / 25 for i in range(50)]
    video = probe(make_video(tmp_path / name, times, [grey(0.5)] * 50, np.zeros(40_000), codec=codec))
    assert float(video.first) == pytest.approx(0.7, abs=2e-3) and float(video.end) == pytest.approx(2.7, abs=2e-3)
    assert float([*shown(video)][-1].end) == pytest.approx(2.7, abs=2e-3)


def test_rotated_videos_come_upright(tmp_path, make_video, grey):
    """The left half is bright as stored; turned a quarter counter-clockwise it lies below."""
    make_video(tmp_path / "a.mp4", [0.0, 0.04], [(grey(0.9), grey(0.1))] * 2, rotation=90)
    (_, picture), *_ = frames(probe(tmp_path / "a.mp4"))
    assert picture.shape == (96, 64, 3) and picture[:48].mean() < 60 < 200 < picture[48:].mean()


@pytest.mark.parametrize("make, reason, words", [
    (lambda path: None, "missing file", "no such file"),
    (lambda path: path.write_bytes(b""), "not video", "Invalid data"),
    (lambda path: path.write_text("no video at all"), "not video", "no video that can be read"),
])  # fmt: skip
def test_what_is_no_video(tmp_path, make, reason, words):
    make(tmp_path / "a b ü.mp4")
    with pytest.raises(Rejected, match=words) as error:
        probe(tmp_path / "a b ü.mp4")
    assert error.value.reason == reason and "a b ü.mp4" in str(error.value)


def test_truncated_videos_are_said(videos, tmp_path):
    with pytest.raises(Rejected):
        list(frames(probe(videos / "cut.mp4")))
    whole = (videos / "plain.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Rejected, match="of the 2.0. s it states") as error:
        list(frames(probe(tmp_path / "cut.mkv")))
    assert error.value.reason == "truncated video"


def sound_file(path, late: int = 0):
    """Two seconds of a tone; in a container in packets of 1/16 s, from `late` such packets on."""
    import av

    tone_N = 0.3 * np.sin(np.arange(32_000) / 9)
    if path.suffix in (".wav", ".aiff", ".mp3"):
        soundfile.write(path, tone_N, 16_000)
        return
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mov" else {}) as file:
        stream = file.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for number, part_N in enumerate(tone_N.astype(np.float32).reshape(32, 1, 1000)):
            frame = av.AudioFrame.from_ndarray(part_N, "fltp", "mono")
            frame.sample_rate, frame.pts = 16_000, (number + late) * 1000
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize("name, late", [
    ("a.wav", 0), ("a.aiff", 0), ("a.mp3", 0), ("a.mkv", 0), ("a.mkv", 40), ("a.mov", 0), ("a.avi", 0),
])  # fmt: skip
def test_sound_that_ends_before_its_header_says(tmp_path, name, late):
    sound_file(tmp_path / name, late)
    content, cut = (tmp_path / name).read_bytes(), tmp_path / f"cut {name}"
    cut.write_bytes(content[: len(content) // 2])
    for read in (lambda path: read_audio(path)[0], energies):
        assert len(read(tmp_path / name))
        with pytest.raises(Rejected, match=r"its sound ends at [01]\.\d+ s of the [12]\.\d+ s it states") as error:
            read(cut)
        assert error.value.reason == "truncated audio"
    assert len(read_audio(cut, 0.0, 0.3)[0]) == 7_200  # what lies before is whole


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_lengths_of_streamed_sound_are_no_promise(tmp_path, size):
    soundfile.write(tmp_path / "a.wav", np.full(16_000, 0.1), 16_000)
    content = (tmp_path / "a.wav").read_bytes()
    at = content.index(b"data") + 4
    (tmp_path / "a.wav").write_bytes(content[:at] + size.to_bytes(4, "little") + content[at + 4 :])
    assert len(read_audio(tmp_path / "a.wav")[0]) == 24_000 and len(energies(tmp_path / "a.wav")) == 25


def test_streamed_flac_is_read_to_its_end(tmp_path):
    """Written into a pipe: 0 samples in its header."""
    soundfile.write(tmp_path / "a.flac", 0.3 * np.sin(np.arange(16_000) / 9), 16_000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])
    (tmp_path / "a.flac").write_bytes(content)
    for limit in (None, 30.0):
        assert len(read_audio(tmp_path / "a.flac", limit=limit)[0]) == 24_000
    assert len(energies(tmp_path / "a.flac")) == 25


def test_sound_of_a_part_is_the_part_of_the_sound(videos):
    whole, _ = read_audio(videos / "plain.mkv")
    part, _ = read_audio(videos / "plain.mkv", 1.2, 1.6)
    assert len(whole) == 48_000 and len(part) == 9_600
    assert np.abs(part[200:-200] - whole[28_800:38_400][200:-200]).max() < 1e-2
