"""Motion from videos through a worker: timing against known pictures, what is kept, and a program that misbehaves."""
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.dataset import DataSet
from data_pipelines.prepare import extractors
from data_pipelines.prepare.clip_reader import Reading
from data_pipelines.prepare.extractors import Extractor, extract
from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.run import prepare
from data_pipelines.prepare.worker import Worker, WorkerError
from jamflow_jax.errors import ConfigError
from jamflow_jax.motion import space
from launch.prepare import main

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
LIPS = space.get("lips")


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    yield Extractor(FAKE, str(tmp_path_factory.mktemp("kept"))).ready()
    extractors.close()


@pytest.fixture(scope="module")
def prepared(videos, fake, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "videos"
    return prepare(videos, out, LIPS, reading=Reading(extractor=fake), validation=0, test=0), DataSet(out)


def test_a_folder_of_videos_becomes_a_data_set(prepared):
    report, data = prepared
    assert report.exit_code == 3 and data.index.ids() == ["crowd", "fast", "late", "mute", "plain", "wild"]
    assert report.by_reason() == {"no face": 1, "not video": 1} or report.by_reason() == {"no face": 1, "truncated video": 1}
    assert {"no sound", "several faces"} <= report.by_note().keys()
    assert data.record(4).text == "what is said" and data.index.flags.tolist() == [3, 3, 3, 2, 7, 3]


@pytest.mark.parametrize("name, late", [("plain", 0.0), ("fast", 0.0), ("wild", 0.0), ("late", 0.2), ("mute", 0.0)])
def test_motion_is_on_the_clock_of_the_sound(prepared, name, late):
    """Brightness is 0.2 + 0.3 t of the pictures' own time: frame j of the data set must show t = j / 25 after the first sound."""
    _, data = prepared
    record = data.record(data.index.ids().index(name))
    shown = slice(0, 44)
    assert np.abs(record.motion[shown, 0] - (0.2 + 0.3 * (np.arange(50)[shown] / 25 + late))).max() < 0.015


def test_what_was_extracted_is_kept(videos, tmp_path):
    log = tmp_path / "log"
    extractor = Extractor((*FAKE, "log", str(log)), str(tmp_path / "kept")).ready()
    first, notes = extract(extractor, videos / "crowd.mkv")
    extractors.drop(extractor.command)
    assert extract(extractor, videos / "crowd.mkv") == (first, notes) and log.read_text().count("started") == 1
    assert notes == ["several faces: in 25 of 50 frames, the one largest at first is followed"]
    first.write_bytes(b"half of it")
    assert extract(extractor, videos / "crowd.mkv")[0] == first and log.read_text().count("started") == 2
    with pytest.raises(Rejected, match="several faces in 25 of 50"):
        extract(Extractor(**{**vars(extractor), "one_face": True}), videos / "crowd.mkv")
    extractors.close()


def test_of_several_faces_one_is_followed():
    small, large = np.zeros((4, 3)), np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [9, 9, 0.0]])
    faces = np.stack([small + 50, large])
    assert extractors._follow(faces, None) is not None and (extractors._follow(faces, None) == large).all()
    assert (extractors._follow(faces, small + 48) == small + 50).all()


@pytest.mark.parametrize("mode, words", [
    ("crash", "exit status 7; its last words: Illegal instruction in the face graph"),
    ("hang", "no answer within 0.5 s"),
    ("nonsense", "does not keep to the protocol"),
])  # fmt: skip
def test_a_program_that_fails_is_one_line(videos, tmp_path, monkeypatch, mode, words):
    monkeypatch.setattr(extractors, "Worker", lambda command: Worker(command, answer_seconds=0.5))
    extractor = Extractor((*FAKE, mode), str(tmp_path / "kept")).ready()
    with pytest.raises(Rejected, match=words) as error:
        extract(extractor, videos / "plain.mkv")
    assert error.value.reason == "extractor failed" and "\n" not in str(error.value) and "plain.mkv" in str(error.value)
    assert not list((tmp_path / "kept").rglob("*"))


def test_a_program_that_does_not_start_is_one_line(tmp_path):
    with pytest.raises(WorkerError, match="cannot start /no/python: No such file"):
        Worker(["/no/python", "x.py"])
    started = time.monotonic()
    with pytest.raises(WorkerError, match="it did not get ready"):
        Worker([*FAKE, "mute"], start_seconds=0.3)
    assert time.monotonic() - started < 5
    with pytest.raises(ConfigError, match="no environment of extractor mediapipe; make it with `jamflow data setup mediapipe"):
        extractors.find("mediapipe", tmp_path, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is none of mediapipe, liveportrait, none, and no command line"):
        extractors.find("mediapip", tmp_path)


def test_command_with_videos(videos, tmp_path, capsys):
    arguments = [str(videos), "--out", str(tmp_path / "set"), "--space", "lips", "--workers", "1"]
    assert main(arguments) == 2 and "--extractor mediapipe or liveportrait, or none" in capsys.readouterr().err
    assert main([*arguments, "--extractor", shlex.join(FAKE), "--one-face", "--cache", str(tmp_path / "kept")]) == 3
    assert "several faces in 25 of 50 frames" in capsys.readouterr().err
    assert (tmp_path / "set" / "report.html").exists() and not (tmp_path / "set.extracted").exists()
    assert main([*arguments, "--overwrite", "--extractor", "none", "--kind", "videos"]) == 3
    data = DataSet(tmp_path / "set")
    assert data.meta["with"]["motion"] == 0 and data.meta["with"]["audio"] == 6
    extractors.close()


def test_mediapipe_gives_the_landmarks_of_the_arrays(real_data, tmp_path):
    """The GRID arrays were made by the same model; they are rounded to 1/64 pixel."""
    try:
        extractor = extractors.find("mediapipe", tmp_path)
    except ConfigError as error:
        pytest.skip(str(error))
    path, _ = extract(extractor, real_data / "grid_s1/video/bbaf2n.mpg")
    stored = np.load(real_data / "grid_s1/motion/bbaf2n.npz")
    with np.load(path) as made:
        assert made["ids"].tolist() == stored["lmk_idx"].tolist()
        assert np.abs(made["motion"] - stored["lmk_q64"] / 64).max() <= 0.5 / 64 + 1e-4
    extractors.close()
