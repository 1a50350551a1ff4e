"""`jamflow prepare --extractor liveportrait` with a small M of random weights: motion of videos, in batches, into a data set."""
import re
import sys

import numpy as np
import pytest

from data_pipelines.dataset import DataSet
from data_pipelines.prepare.liveportrait import LivePortrait
from data_pipelines.prepare.report import Rejected
from jamflow_jax.motion.space import get
from jamflow_jax.motion.template import read_template
from launch import motion
from launch.outputs.video import write_mp4
from launch.prepare import main


@pytest.fixture
def few(videos, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("plain.mkv", "late.mkv", "dark.mkv", "cut.mp4"):
        (folder / name).symlink_to(videos / name)
    return folder


@pytest.fixture
def command(small_faces, few, tmp_path, monkeypatch):
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    weights = tmp_path / "weights"
    weights.mkdir()
    small_faces.save(weights)
    return [str(few), "--out", str(tmp_path / "set"), "--extractor", "liveportrait", "--weights", str(weights), "--workers", "1",
            "--validation", "0", "--test", "0", "--batch", "16"]  # fmt: skip


def bright(picture):
    """A detector: faces in what is not dark."""
    return [np.array([[50, 50], [70, 50], [60, 60], [53, 70], [67, 70]], float)] if picture.mean() > 30 else []


def test_videos_become_a_data_set(command, few, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "liveportrait_test", sys.modules[__name__])
    assert main([*command, "--detector", "liveportrait_test:bright"]) == 3
    out, error = capsys.readouterr()
    assert re.search(r"motion of 1[45]\d frames in 3 clips: [\d.]+ frames/s", out)
    assert "dark.mkv: no face in any of its 50 frames" in error and "cut.mp4" in error
    data = DataSet(tmp_path / "set")
    assert data.index.ids() == ["late", "plain"] and data.meta["with"]["motion"] == 2
    assert data.meta["space"]["name"] == "liveportrait"
    made = data.record(1).motion[:50]  # its sound is a little longer
    assert made.shape == (50, 63) and np.isfinite(made).all() and np.ptp(made, axis=0).max() > 0
    args = [str(few / "plain.mkv"), "--out", str(tmp_path / "m.pkl"), "--weights", command[6], "--batch", "8"]
    assert motion.main([*args, "--detector", "liveportrait_test:bright"]) == 0  # the same in other batches
    expected = read_template(tmp_path / "m.pkl").motion(get("liveportrait"))
    np.testing.assert_allclose(made, expected, atol=1e-4)
    assert main([*command, "--detector", "liveportrait_test:bright", "--overwrite"]) == 3
    assert "motion of no new clip" in capsys.readouterr().out


def test_a_track_beside_a_video_counts(command, few, tmp_path):
    extractor = LivePortrait(command[6])
    video = few / "plain.mkv"
    before, (_, middle, seen, _) = extractor.identity(video), extractor.read(video, 0.0, 0.2, video)
    np.savez(few / "plain.landmarks.npz", landmarks=np.stack(bright(np.full((2, 2), 99)) * 50))
    assert extractor.identity(video) != before and seen.all()
    assert np.abs(extractor.read(video, 0.0, 0.2, video)[1] - middle).max() > 1e-5
    assert LivePortrait(command[6], box=(1, 2, 30, 40)).track(video) is None


def test_a_track_is_no_clip_of_its_own(command, few, tmp_path, capsys):
    for name in ("dark.mkv", "cut.mp4"):
        (few / name).unlink()
    np.savez(few / "plain.landmarks.npz", landmarks=np.stack(bright(np.full((2, 2), 99)) * 50))
    np.savez(few / "late.landmarks.npz", landmarks=np.zeros((50, 7, 2)))
    assert main(command) == 3
    assert DataSet(tmp_path / "set").index.ids() == ["plain"]
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"rejected late: {few}/late.mkv: {few}/late.landmarks.npz: frame 0: 7 landmarks") and "\n" not in error


def test_a_video_too_small_for_a_face_is_refused(command, few, tmp_path):
    write_mp4(tmp_path / "tiny.mp4", (np.zeros((48, 64, 3), np.uint8) for _ in range(3)))
    with pytest.raises(Rejected, match=r"tiny\.mp4: 64 x 48 pixels; a face needs at least 64"):
        LivePortrait(command[6]).read(tmp_path / "tiny.mp4", 0.0, None, tmp_path / "tiny.mp4")


def test_missing_weights_are_one_line(few, tmp_path, capsys):
    assert main([str(few), "--out", str(tmp_path / "set"), "--extractor", "liveportrait", "--weights", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "motion_extractor.pth" in error and str(tmp_path) in error
