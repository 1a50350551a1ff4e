"""`jamflow render`, `motion`, `sample --face`: what they write, decoded again; with stand-ins for the networks, once with them."""
import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

import jamflow_jax.train.bundle
import launch.render
from jamflow_jax.face.animate import Face
from jamflow_jax.face.networks import Networks, batches
from jamflow_jax.motion.space import get
from jamflow_jax.motion.template import Template, read_template, write_template
from jamflow_jax.torch_io import liveportrait
from launch import motion, render, sample
from launch.outputs import portrait, provenance
from launch.outputs.video import write_mp4

POINTS = np.random.default_rng(0).normal(size=(21, 3)).astype(np.float32)


class StandIn:
    """Networks that see how bright a crop is (t_x) and draw the driving t_x as red, the source's as green."""

    batch, size = 4, 128
    params = {"stitching": {"stitching": None}}
    chunks: list[int] = []

    def faces(self, crops):
        for pictures, count in batches(crops, self.batch):
            self.chunks.append(count)
            t = np.zeros((count, 3), np.float32)
            t[:, 0] = pictures[:count].mean((1, 2, 3)) / 255
            eye = np.broadcast_to(np.eye(3, dtype=np.float32), (count, 3, 3))
            points = np.broadcast_to(POINTS, (count, 21, 3))
            yield Face(points, 0 * points, eye, t, np.ones((count, 1), np.float32))

    def volume(self, crops):
        return crops

    def pictures(self, volume, source, driving):
        red = np.round(255 * (driving - POINTS).mean(1)[:, 0]).clip(0, 255)
        green = np.round(255 * (source - POINTS).mean(1)[:, 0]).clip(0, 255)
        colours = np.stack([red, np.broadcast_to(green, red.shape), 0 * red], -1)
        return np.broadcast_to(colours[:, None, None].astype(np.uint8), (len(driving), 256, 256, 3))


@pytest.fixture
def networks(monkeypatch):
    made = StandIn()
    monkeypatch.setattr(launch.render, "load_networks", lambda *_, **__: made)
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    return made


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((120, 161, 3), 51, np.uint8)).save(path)  # 0.2 bright, an odd width
    return path


def template(frames: int, fps=25) -> Template:
    """t_x rises by 0.04 a frame."""
    t = np.zeros((frames, 3), np.float32)
    t[:, 0] = 0.04 * np.arange(frames)
    eye = np.broadcast_to(np.eye(3, dtype=np.float32), (frames, 3, 3))
    return Template(np.zeros((frames, 21, 3), np.float32), eye, t, np.ones((frames, 1), np.float32), output_fps=fps)


def decoded(path):
    with av.open(str(path)) as file:
        rate, metadata = Fraction(file.streams.video[0].average_rate), dict(file.metadata)
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    sound = None
    with av.open(str(path)) as file:
        if file.streams.audio:
            sound = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    return frames, sound, rate, metadata


NO_STITCH = ["--no-stitch"]


def test_a_picture_moves_in_step_with_its_sound(networks, photo, tmp_path):
    write_template(tmp_path / "m.pkl", template(11, 20))
    click = np.zeros(24_000, np.float32)
    click[6_000:6_200] = 0.9  # at 0.25 s
    soundfile.write(tmp_path / "m_template.wav", click, 24_000)
    out = tmp_path / "o.mp4"
    args = ["--source", str(photo), "--motion", str(tmp_path / "m.pkl"), "--out", str(out), *NO_STITCH]
    assert render.main(args) == 0
    frames, sound, rate, metadata = decoded(out)
    assert len(frames) == 11 and rate == 20 and frames[0].shape == (120, 160, 3)
    reds = [frame[60, 80, 0] for frame in frames]
    np.testing.assert_allclose(reds, [255 * (0.2 + 0.04 * i) for i in range(11)], atol=6)
    assert frames[5][60, 2, 0] == pytest.approx(51, abs=6)  # beside the crop: the picture
    assert len(sound) == pytest.approx(24_000 * 11 / 20, abs=2_048)  # the sound ends with the pictures
    assert np.argmax(np.abs(sound)) == pytest.approx(6_100, abs=400)
    assert metadata["comment"] == provenance.GENERATED
    assert render.main([*args, "--silent", "--no-mark", "--face-only"]) == 0
    frames, sound, _, metadata = decoded(out)
    assert sound is None and "comment" not in metadata and frames[0].shape == (256, 256, 3)


def test_a_video_keeps_its_own_movement_but_the_lips(networks, tmp_path):
    write_mp4(tmp_path / "v.mp4", (np.full((96, 96, 3), 20 * i, np.uint8) for i in range(10)), fps=25)
    write_template(tmp_path / "m.pkl", template(7))
    networks.chunks.clear()
    args = ["--source", str(tmp_path / "v.mp4"), "--motion", str(tmp_path / "m.pkl"), "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    assert render.main([*args, "--face-only"]) == 0
    frames, _, rate, metadata = decoded(tmp_path / "o.mp4")
    assert len(frames) == 7 and rate == 25 and networks.chunks == [4, 3]  # the shorter one; batches, not the whole
    for i, frame in enumerate(frames):
        np.testing.assert_allclose(frame[100, 100, :2], 20 * i, atol=8)  # the driving t_x is not taken
    assert metadata["comment"] == provenance.COMPOSITE


@pytest.mark.parametrize("moved", [1, 30])
def test_sound_ends_with_the_pictures_of_a_video(networks, tmp_path, capsys, moved):
    write_mp4(tmp_path / "v.mp4", (np.full((96, 96, 3), 20 * i, np.uint8) for i in range(10)), fps=25)
    write_template(tmp_path / "m.pkl", template(moved))
    soundfile.write(tmp_path / "m.wav", np.zeros(48_000), 24_000)  # of all 30 frames, and more
    args = ["--source", str(tmp_path / "v.mp4"), "--motion", str(tmp_path / "m.pkl"), "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    assert render.main([*args, "--audio", str(tmp_path / "m.wav")]) == 0
    with av.open(str(tmp_path / "o.mp4")) as file:
        shown, heard = (float(stream.duration * stream.time_base) for stream in file.streams)
    assert capsys.readouterr().err.count("ends after 10 of the motion's 30 frames") == (moved == 30)
    assert shown == 0.4 and heard == pytest.approx(0.4, abs=0.001)


def posed(frames: int) -> np.ndarray:
    """Rows of LivePortrait's space with pose: only t_x moves, 0.02 a frame."""
    rows = np.zeros((frames, 69), np.float32)
    rows[:, 66], rows[:, 68] = 0.02 * np.arange(frames), 1
    return rows


@pytest.mark.parametrize("named", [True, False])
def test_a_motion_files_pose_moves_the_head(networks, photo, tmp_path, named):
    more = {"names": get("liveportrait", pose=True).dims} if named else {}
    np.savez(tmp_path / "m.npz", motion=posed(10), fps=25, **more)
    args = ["--source", str(photo), "--motion", str(tmp_path / "m.npz"), "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    assert render.main(args) == 0
    reds = [frame[60, 80, 0] for frame in decoded(tmp_path / "o.mp4")[0]]
    np.testing.assert_allclose(reds, [51 + 5.1 * i for i in range(10)], atol=6)
    np.savez(tmp_path / "m.npz", motion=posed(10)[:, :63], fps=25)
    assert render.main(args) == 0
    np.testing.assert_allclose([frame[60, 80, 0] for frame in decoded(tmp_path / "o.mp4")[0]], 51, atol=6)


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize("name, field", [("m.npy", "pose.scale"), ("m.pkl", "scale")])
def test_a_head_without_size_is_the_motions_fault(networks, photo, tmp_path, capsys, size, name, field):
    rows = posed(10)
    rows[4, 68] = size
    np.save(tmp_path / "m.npy", rows)
    made = template(10)
    made.scale[4] = size
    write_template(tmp_path / "m.pkl", made)
    args = ["--source", str(photo), "--motion", str(tmp_path / name), "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    assert render.main(args) == 1 and not (tmp_path / "o.mp4").exists()
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / name}: {field} falls to {size}; ")


def test_what_was_changed_in_a_motion_is_said(networks, photo, tmp_path, capsys):
    rows = np.zeros((10, 63), np.float32)
    rows[3] = np.nan
    np.savez(tmp_path / "m.npz", motion=rows, fps=50)
    args = ["--source", str(photo), "--motion", str(tmp_path / "m.npz"), "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    assert render.main(args) == 0
    said = capsys.readouterr().err
    for note in ("motion interpolated: 1 of 10 frames were missing", "motion resampled: 50 fps to 25 fps"):
        assert f"note: {tmp_path / 'm.npz'}: {note}" in said
    np.savez(tmp_path / "m.npz", one=rows, other=rows)
    assert render.main(args) == 1
    assert "arrays one, other: none is called motion" in capsys.readouterr().err


def late_video(path, frames=20, late=6):
    """25 frames a second, of which `late` are shown before the sound begins; each is brighter."""
    with av.open(str(path), "w") as file:
        video, sound = file.add_stream("libx264", rate=25, options={"crf": "5"}), file.add_stream("pcm_s16le", rate=24_000)
        video.width, video.height, video.pix_fmt, sound.layout = 96, 96, "yuv420p", "mono"
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((96, 96, 3), 10 * i, np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            file.mux(video.encode(frame))
        block = av.AudioFrame.from_ndarray(np.zeros((1, 24_000), np.int16), "s16", "mono")
        block.sample_rate, block.time_base, block.pts = 24_000, Fraction(1, 24_000), late * 960
        file.mux([*video.encode(None), *sound.encode(block), *sound.encode(None)])
    return path


@pytest.mark.parametrize("late", [6, 15])
def test_a_video_begins_with_its_first_picture_and_speech_with_its_sound(networks, tmp_path, capsys, monkeypatch, late):
    late_video(tmp_path / "v.mkv", late=late)
    click = np.zeros(24_000, np.float32)
    click[2_400:2_600] = 0.9  # at 0.1 s
    soundfile.write(tmp_path / "m.wav", click, 24_000)
    args = ["--source", str(tmp_path / "v.mkv"), "--motion", str(tmp_path / "m.pkl"), "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    driven = []
    selected = portrait._selected
    monkeypatch.setattr(portrait, "_selected", lambda face, goal, region: driven.append(goal.exp) or selected(face, goal, region))
    moved = template(20 - late)
    moved.exp[:, 19, 1] = 0.1 * np.arange(20 - late)  # lips
    write_template(tmp_path / "m.pkl", moved)
    assert render.main([*args, "--audio", str(tmp_path / "m.wav"), "--no-smooth"]) == 0
    frames, sound, _, _ = decoded(tmp_path / "o.mp4")
    np.testing.assert_allclose([frame[2, 2, 0] for frame in frames], [10 * i for i in range(20)], atol=8)
    assert np.argmax(np.abs(sound)) == pytest.approx(late * 960 + 2_500, abs=400)
    lips = np.concatenate([np.asarray(exp) for exp in driven])[:20, 19, 1]
    np.testing.assert_allclose(lips - lips[0], [0.1 * max(0, i - late) for i in range(20)], atol=1e-5)
    said = capsys.readouterr().err
    assert f"sound: begins {late / 25:.2f} s after the pictures" in said and "ends after" not in said


@pytest.mark.parametrize("fps, said", [(5, 0), (10, 1)])
def test_a_sound_that_begins_late_is_said_at_the_motions_rate(networks, tmp_path, capsys, fps, said):
    late_video(tmp_path / "v.mkv", late=2)  # 0.08 s
    write_template(tmp_path / "m.pkl", template(3, fps=fps))
    args = ["--source", str(tmp_path / "v.mkv"), "--motion", str(tmp_path / "m.pkl"), "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    assert render.main(args) == 0
    assert capsys.readouterr().err.count("sound: begins 0.08 s after the pictures") == said


def test_a_video_that_ends_early_is_said_by_the_motions_count(networks, tmp_path, capsys):
    late_video(tmp_path / "v.mkv")
    write_template(tmp_path / "m.pkl", template(17))
    args = ["--source", str(tmp_path / "v.mkv"), "--motion", str(tmp_path / "m.pkl"), "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    assert render.main(args) == 0
    assert "ends after 14 of the motion's 17 frames" in capsys.readouterr().err


def test_a_video_whose_sound_begins_after_its_pictures_is_an_error(networks, tmp_path, capsys):
    late_video(tmp_path / "v.mkv", late=50)
    write_template(tmp_path / "m.pkl", template(5))
    soundfile.write(tmp_path / "m.wav", np.zeros(24_000), 24_000)
    video, moved, sound = (str(tmp_path / name) for name in ("v.mkv", "m.pkl", "m.wav"))
    args = ["--source", video, "--motion", moved, "--audio", sound, "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    for command, given in ((render, args), (motion, [video, "--out", str(tmp_path / "o.pkl")])):
        assert command.main(given) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(f"error: {video}: its pictures end at 0.80 s and its sound begins at 2.00 s")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.pkl", "m.wav", "v.mkv"]


def test_motion_of_a_video_begins_with_its_sound_and_says_so(networks, tmp_path, capsys):
    late_video(tmp_path / "v.mkv")
    assert motion.main([str(tmp_path / "v.mkv"), "--out", str(tmp_path / "m.pkl")]) == 0
    made = read_template(tmp_path / "m.pkl")
    np.testing.assert_allclose(made.t[:, 0], [10 * i / 255 for i in range(6, 20)], atol=0.03)
    assert "motion: begins with the sound, 0.24 s (6 pictures) after the first picture" in capsys.readouterr().err


@pytest.mark.parametrize("own", [{}, {"fps": 25}])
def test_a_track_counts_the_files_frames(networks, tmp_path, monkeypatch, own):
    """Also of a video whose sound begins late, at another rate; a track with the video's rate for its own gives the same."""
    late_video(tmp_path / "v.mkv")
    write_template(tmp_path / "m.pkl", template(7, fps=12.5))
    face = np.array([[-30, -30], [30, -30], [0, 0], [-20, 40], [20, 40]], float) / 2
    np.savez(tmp_path / "t.npz", landmarks=face + 40 + np.arange(20)[:, None, None] * (1, 0), **own)
    places, cut = [], portrait.crop.cut

    def noted(frame, where, size):
        places.append((frame[0, 0, 0], where))
        return cut(frame, where, size)

    monkeypatch.setattr(portrait.crop, "cut", noted)
    args = ["--source", str(tmp_path / "v.mkv"), "--motion", str(tmp_path / "m.pkl"), "--landmarks", str(tmp_path / "t.npz")]
    assert render.main([*args, "--out", str(tmp_path / "o.mp4"), *NO_STITCH]) == 0
    rows = [round(where.centre[0] - 40) for _, where in places]
    assert len(rows) == 10 and rows[1] > rows[0]
    np.testing.assert_allclose([shade / 10 for shade, _ in places], rows, atol=0.9)


def test_a_still_motion_is_taken_on_by_a_whole_video(networks, tmp_path):
    write_mp4(tmp_path / "v.mp4", (np.full((96, 96, 3), 20 * i, np.uint8) for i in range(10)), fps=25)
    write_template(tmp_path / "m.pkl", template(1))
    args = ["--source", str(tmp_path / "v.mp4"), "--motion", str(tmp_path / "m.pkl"), "--out", str(tmp_path / "o.mp4"), *NO_STITCH]
    assert render.main([*args, "--face-only"]) == 0
    assert len(decoded(tmp_path / "o.mp4")[0]) == 10


def test_memory_does_not_grow_with_length(networks, photo):
    source = portrait.read_source(photo)
    taken = portrait.portrait_frames(networks, source, portrait.drive_of(template(100_000), False), portrait.Look(stitch=False))
    assert next(taken).shape == (120, 160, 3)  # nothing waits for the end


def test_motion_from_video(networks, tmp_path):
    write_mp4(tmp_path / "v.mp4", (np.full((96, 128, 3), 20 * i, np.uint8) for i in range(10)), fps=25)
    assert motion.main([str(tmp_path / "v.mp4"), "--out", str(tmp_path / "m.pkl")]) == 0
    made = read_template(tmp_path / "m.pkl")
    assert made.n_frames == 10 and made.fps == 25 and made.kp is not None and made.c_lip is not None
    np.testing.assert_allclose(made.t[:, 0], [20 * i / 255 for i in range(10)], atol=0.03)


@pytest.mark.parametrize("real, says, rows", [(25, 25, 20), (0.5, 25, 1000), (500, 25, 1)])
def test_motion_takes_the_frame_rate_of_the_time_stamps_where_the_header_is_nonsense(networks, tmp_path, capsys, real, says, rows):
    with av.open(str(tmp_path / "v.mkv"), "w") as file:
        video = file.add_stream("mpeg4", rate=1000)
        video.width, video.height, video.pix_fmt = 96, 96, "yuv420p"
        for i in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((96, 96, 3), 10 * i, np.uint8), "rgb24")
            frame.pts, frame.time_base = round(1000 * i / real), Fraction(1, 1000)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    assert motion.main([str(tmp_path / "v.mkv"), "--out", str(tmp_path / "m.pkl")]) == 0
    made = read_template(tmp_path / "m.pkl")
    assert made.fps == says and made.n_frames == rows
    assert f"frames: {says} a second are taken, not 1000 as its header says (--fps chooses)" in capsys.readouterr().err
    assert motion.main([str(tmp_path / "v.mkv"), "--out", str(tmp_path / "m.pkl"), "--fps", "10"]) == 0
    assert read_template(tmp_path / "m.pkl").fps == 10 and "header" not in capsys.readouterr().err


def points(faces):
    """A detector that finds so many faces."""
    base = np.array([[-30, -30], [30, -30], [0, 0], [-20, 40], [20, 40]], float)
    return [base * (1 + 0.1 * i) / 2 + (80, 60) for i in range(faces)]


def none(picture):
    return points(0)


def two(picture):
    return points(2)


def ended(main):
    """The exit code, of argparse too."""
    try:
        return main()
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.parametrize("more, says, code", [
    (["--detector", "render_test:none"], "finds no face", 1),
    (["--detector", "render_test:none", "--source", "v.mp4"], "finds no face in the first 9 frames", 1),
    (["--source", "tiny.mp4"], "tiny.mp4: 62 x 90 pixels; a face needs at least 64", 1),
    (["--detector", "nowhere:none"], "nowhere", 2),
    (["--box", "1000,10,1100,60"], "lies outside", 1),
    (["--motion", "none.npz"], "no such file", 1),
    (["--audio", "none.wav"], "no such file", 1),
    (["--source", "none.jpg"], "no such file", 1),
    (["--landmarks", "none.npz"], "no such file", 1),
    (["--out", "o.avi"], ".mp4", 2),
    (["--source", "v.mp4", "--out", "v.mp4"], "v.mp4: is read as well", 2),
    (["--crf", "18.5"], "argument --crf: 18.5: a whole number is needed", 2),
    (["--multiplier", "x"], "argument --multiplier: x: a number is needed", 2),
    (["--multiplier", "1e9"], "argument --multiplier: 1e9: -10 to 10 is needed", 2),
    (["--box", "1,2,a,4"], "argument --box: 1,2,a,4: four numbers: left,top,right,bottom", 2),
    (["--out", "folder.mp4"], "--out folder.mp4: is a folder; name a file", 2),
])  # fmt: skip
def test_bad_input_is_one_line(networks, photo, tmp_path, capsys, monkeypatch, more, says, code):
    import sys

    monkeypatch.setitem(sys.modules, "render_test", sys.modules[__name__])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.mp4").mkdir()
    write_mp4("v.mp4", (np.zeros((96, 96, 3), np.uint8) for _ in range(9)))
    write_mp4("tiny.mp4", (np.zeros((90, 62, 3), np.uint8) for _ in range(2)))
    write_template(tmp_path / "m.pkl", template(3))
    args = ["--source", str(photo), "--motion", str(tmp_path / "m.pkl"), "--out", str(tmp_path / "o.mp4")]
    assert ended(lambda: render.main([*args, *more])) == code
    error = capsys.readouterr().err.strip()
    assert says in error and "\n" not in error
    assert not (tmp_path / "o.mp4").exists()


def test_of_many_faces_the_largest_is_taken(photo):
    source = portrait.read_source(photo, detector=two)
    assert source.place.side == pytest.approx(2.3 * 1.1 * 35) and "2 found" in source.notes[-1]


def test_sample_without_weights_draws_and_says_what_is_missing(model, files, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: model)
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    args = ["--steps", "1", "--model", "run", "--out", str(tmp_path / "o"), "--audio", str(files / "speech.wav")]
    args += ["--files", "video", "--face-weights", str(tmp_path / "none")]
    assert sample.main([*args, "--face", str(photo)]) == 3
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["sample.mp4"]
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(name in error for name in liveportrait.FILES.values()) and str(tmp_path / "none") in error


def test_from_text_to_a_talking_face(model, photo, tmp_path, monkeypatch, small_faces):
    """The whole chain with random weights in all five networks, which are small and see crops of half the size."""
    networks = Networks(small_faces.params(), batch=3, size=128)
    monkeypatch.setattr(launch.render, "load_networks", lambda *_, **__: networks)
    monkeypatch.setattr(liveportrait, "find", lambda *_: {})
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: model)
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    args = ["--steps", "1", "--model", "run", "--out", str(tmp_path / "o"), "--text", "hi.", "--duration", "0.1", "--name", "a"]
    assert sample.main([*args, "--face", str(photo), "--files", "wav,npz"]) == 0
    frames, sound, rate, metadata = decoded(tmp_path / "o" / "a_face.mp4")
    said, _ = soundfile.read(tmp_path / "o" / "a.wav")
    made = np.load(tmp_path / "o" / "a.npz")["motion"]
    assert len(frames) == len(made) == 3 and rate == 25 and frames[0].shape == (120, 160, 3)
    assert np.isfinite(sound).all() and 0 <= len(sound) - len(said) < 2_048
    lag = np.argmax(np.correlate(sound[: len(said)], said, "full")) - (len(said) - 1)
    assert abs(lag) <= 24  # a millisecond
    assert metadata["comment"] == provenance.GENERATED
    assert "AI-generated" in soundfile.SoundFile(tmp_path / "o" / "a.wav").comment


def test_sample_says_that_a_videos_face_is_partly_generated(model, files, networks, tmp_path, monkeypatch, capsys):
    write_mp4(tmp_path / "v.mp4", (np.zeros((96, 96, 3), np.uint8) for _ in range(2)))
    monkeypatch.setattr(liveportrait, "find", lambda *_: {})
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: model)
    monkeypatch.setattr(portrait.Talker, "__call__", lambda *_: [np.zeros((96, 96, 3), np.uint8)])
    args = ["--steps", "1", "--model", "run", "--out", str(tmp_path / "o"), "--audio", str(files / "speech.wav")]
    assert sample.main([*args, "--files", "video", "--face", str(tmp_path / "v.mp4")]) == 0
    assert decoded(tmp_path / "o" / "sample_face.mp4")[3]["comment"] == provenance.COMPOSITE
    assert decoded(tmp_path / "o" / "sample.mp4")[3]["comment"] == provenance.GENERATED
    assert "the face's video ends after 1 of 41 frames" in capsys.readouterr().err


def test_sample_lets_a_videos_sound_begin_late(model, files, networks, tmp_path, monkeypatch, capsys):
    late_video(tmp_path / "v.mkv", late=6)
    monkeypatch.setattr(liveportrait, "find", lambda *_: {})
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: model)
    monkeypatch.setattr(portrait.Talker, "__call__", lambda *_: [np.zeros((96, 96, 3), np.uint8)] * 8)
    click = np.zeros(39_000, np.float32)
    click[:200] = 0.9
    soundfile.write(tmp_path / "click.wav", click, 24_000)
    args = ["--steps", "1", "--model", "run", "--out", str(tmp_path / "o"), "--audio", str(tmp_path / "click.wav")]
    assert sample.main([*args, "--files", "video", "--face", str(tmp_path / "v.mkv")]) == 0
    sound = decoded(tmp_path / "o" / "sample_face.mp4")[1]
    assert np.argmax(np.abs(sound)) == pytest.approx(6 * 960 + 100, abs=400)
    assert "the face's video ends after 2 of 41 frames" in capsys.readouterr().err


@pytest.mark.parametrize("more, says, code", [
    (["--face-box", "1,2,30,40"], "error: --face-box: needs --face", 2),
    (["--face", "photo.png"], "needs a model of motion space liveportrait; run is of motion space lips", 1),
    (["--face", "photo.png", "--want", "speech"], "note: sample: no talking face, for no motion was wanted", 0),
])  # fmt: skip
def test_faces_that_cannot_talk_are_one_line(model, networks, photo, tmp_path, monkeypatch, capsys, more, says, code):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(liveportrait, "find", lambda *_: {})
    of = dataclasses.replace(model, space=get("lips")) if "lips" in says else model
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: of)
    args = ["--steps", "1", "--model", "run", "--out", "o", "--text", "hi.", "--duration", "0.1", "--files", "wav"]
    assert sample.main([*args, *more]) == code
    error = capsys.readouterr().err.strip()
    assert says in error and "\n" not in error
