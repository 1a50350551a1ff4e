"""`jamflow convert torch`: a folder appears whole, checked and with its licences, or not at all."""
import dataclasses
import json
from fractions import Fraction

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import jamflow_jax.train.bundle
from jamflow_jax.torch_io import export, verify
from jamflow_jax.train.origins import Origin
from launch import convert

pytest.importorskip("torch")
FOREIGN = Origin("audio", "F5-TTS, model.safetensors", "CC-BY-NC-4.0")


@pytest.fixture
def loaded(model, monkeypatch):
    """A function that puts a model in the place of the run."""

    def put(changed=None):
        changed = changed or dataclasses.replace(model, origins=(FOREIGN,))
        monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: changed)

    put()
    return put


def test_a_whole_model_and_its_vocoder(loaded, model, golden, tmp_path, tmp_path_factory, capsys):
    vocoder = str(tmp_path_factory.mktemp("vocos") / "vocos.safetensors")
    save_file(load_file(golden / "vocos_tiny.safetensors"), vocoder, {"licence": "Apache-2.0"})
    assert convert.main(["torch", "run", str(tmp_path / "out"), "--vocoder", vocoder]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    config, params = export.load(tmp_path / "out")
    assert config == model.config.model
    jax.tree.map(np.testing.assert_array_equal, params, model.params)
    with safe_open(tmp_path / "out" / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "licence": "CC-BY-NC-4.0 (F5-TTS, model.safetensors)", "tokenizer": "char"}
    with safe_open(tmp_path / "out" / "vocoder.safetensors", "np") as file:
        assert file.metadata()["licence"] == "Apache-2.0"
    entries = json.loads((tmp_path / "out" / "origins.json").read_text())
    assert [(entry["part"], entry["licence"]) for entry in entries] == [("audio", "CC-BY-NC-4.0"), ("vocoder", "Apache-2.0")]
    said = capsys.readouterr().out
    assert "allowed 2e-04" in said and "vocoder's sound" in said and "CC-BY-NC-4.0" in said
    about = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (about["step"], about["averaged"], about["stage"], about["space"]["name"]) == (7, True, 2, "liveportrait")


def test_audio_only_and_back(loaded, model, tmp_path, monkeypatch):
    assert convert.main(["torch", "runs/voice", str(tmp_path / "out"), "--audio-only"]) == 0
    names = ["model.safetensors", "model.yaml", "origins.json", "verification.json", "vocab.txt"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert 'name: "voice"' in (tmp_path / "out" / "model.yaml").read_text()
    exported, again = tmp_path / "out", tmp_path / "again"
    words = ["f5tts", str(exported / "model.safetensors"), str(again), "--config", str(exported / "model.yaml")]
    monkeypatch.undo()
    assert convert.main(words) == 0  # and back: tokens, numbers and where they come from
    back = jamflow_jax.train.bundle.load_model(again)
    assert back.tokenizer == model.tokenizer and back.origins[0].licence == "CC-BY-NC-4.0 (F5-TTS, model.safetensors)"
    jax.tree.map(np.testing.assert_array_equal, back.params["audio"], model.params["audio"])


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(loaded, model, golden, tmp_path, capsys, monkeypatch):
    def fails(code, message, *words):
        assert convert.main(["torch", "run", str(tmp_path / "out"), *words]) == code
        assert list(tmp_path.iterdir()) == []
        said = capsys.readouterr().err.strip()
        assert "\n" not in said and message in said

    fails(2, "--vocoder", "--audio-only", "--vocoder", "x")
    fails(1, "no such checkpoint file", "--vocoder", str(golden / "none.safetensors"))
    loaded(dataclasses.replace(model, params={"motion": model.params["motion"]}))
    fails(1, "no audio stream", "--audio-only")
    windows = dataclasses.replace(model.config.model.windows, audio_audio=Fraction(1))
    narrow = dataclasses.replace(model.config, model=dataclasses.replace(model.config.model, windows=windows))
    loaded(dataclasses.replace(model, config=narrow))
    fails(1, "attends within a window", "--audio-only")
    loaded()
    monkeypatch.setattr(verify, "BOUND", 1e-12)
    fails(1, "nothing is written")
    monkeypatch.undo()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    assert convert.main(["torch", "run", str(tmp_path / "out")]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
