"""`jamflow data`: the page and the words of a data set, damage found to the byte, and the set-up of an extractor's environment."""
import json
import shutil

import numpy as np
import pytest

from data_pipelines.prepare import extractors
from data_pipelines.prepare.build import Example, build
from jamflow_jax.motion import space
from launch.data import main


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Six clips in two shards: sound and motion, sound, motion; one rejected, one changed."""
    out, rng = tmp_path_factory.mktemp("data") / "some <set>", np.random.default_rng(0)
    clips = []
    for i in range(6):
        audio = None if i == 2 else rng.normal(0, 0.1, 12_000 + 960 * i).astype(np.float32)
        motion = None if i == 1 else rng.normal(size=(13 + i, 2)).astype(np.float32)
        clips.append(Example(f"clip {i}", audio, motion, f"<b>{i}</b>", f"speaker {i % 2}", "train"))
    clips += [Example("broken", np.zeros(10, np.float32))]
    build(clips, out, space.get("lips"), shard_examples=3)
    return out


@pytest.fixture
def copied(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "set")


def test_inspect_says_and_shows_what_is_there(prepared, tmp_path, capsys):
    assert main(["inspect", str(prepared), "--out", str(tmp_path / "page.html")]) == 0
    printed, page = capsys.readouterr().out, (tmp_path / "page.html").read_text()
    told = "clips        6", "speakers     2", "space        lips", "audio 5, motion 5", "rejected     too short 1"
    shown = "speaker 1", "broken: 10 samples", "2 of 2 dimensions move", "&lt;b&gt;0&lt;/b&gt;", 'alt="mel spectrogram"', "opening"
    assert all(words in printed for words in told) and all(words in page for words in shown)
    assert "<b>0</b>" not in page and "http" not in page.replace("http://www.w3.org", "") and page.count("<figure>") >= 4


def test_a_whole_data_set_is_whole(prepared, capsys):
    assert main(["verify", str(prepared)]) == 0 and main(["verify", "--fast", str(prepared)]) == 0
    assert "7 files" in capsys.readouterr().out


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name, damage, words", [
    ("shards/data-00001.array_record", "flip", "data-00001.array_record: SHA-256"),
    ("shards/audio-00000.array_record", "cut", "audio-00000.array_record: SHA-256"),
    ("shards/data-00000.array_record", "remove", "data-00000.array_record: No such file"),
    ("vocab.txt", "append", "vocab.txt: SHA-256"),
])  # fmt: skip
def test_damage_is_found(copied, capsys, name, damage, words, fast):
    path = copied / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else content + b"z\n" * (damage == "append"))
    if damage == "remove":
        path.unlink()
    assert main(["verify", str(copied), *(["--fast"] if fast else [])]) == 3
    said = capsys.readouterr()
    assert words in said.err and "Traceback" not in said.err and "faults" in said.out


def test_every_bit_of_a_record_counts(copied):
    """A byte flipped anywhere in a shard is found, wherever it falls."""
    path = copied / "shards/data-00000.array_record"
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 12).astype(int):
        content = bytearray(whole)
        content[place] ^= 0x10
        path.write_bytes(content)
        assert main(["verify", "--fast", str(copied)]) == 3


def test_a_swapped_index_is_found(copied, prepared, capsys):
    meta = json.loads((copied / "dataset.json").read_text())
    (copied / "dataset.json").write_text(json.dumps(meta | {"fingerprint": "0" * 64}))
    assert main(["verify", str(copied)]) == 3 and "not the index" in capsys.readouterr().err


def test_what_cannot_be_opened(copied, tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 1 and "no data set" in capsys.readouterr().err
    meta = json.loads((copied / "dataset.json").read_text())
    (copied / "dataset.json").write_text(json.dumps(meta | {"format": 99}))
    assert main(["inspect", str(copied)]) == 1 and "data format 99, this version reads" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["look", str(copied)])


def test_setup_of_an_unknown_extractor(capsys):
    assert main(["setup", "mediapip"]) == 2 and "no extractor 'mediapip'; there are mediapipe" in capsys.readouterr().err


def test_setup_says_what_pip_said(tmp_path, monkeypatch, capsys):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found' >&2\nexit 1\n")
    python.chmod(0o755)
    assert main(["setup", "mediapipe", "--venv", str(tmp_path / "venv"), "--python", str(python)]) == 1
    assert "No matching distribution found" in capsys.readouterr().err


def test_the_environment_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("JAMFLOW_HOME", str(tmp_path))
    assert extractors.environment("mediapipe") == tmp_path / "extractors" / "mediapipe"
