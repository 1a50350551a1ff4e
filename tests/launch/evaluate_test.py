"""`jamflow evaluate` writes the four rows; a model that knows the truth scores 1."""
import dataclasses
import json

import numpy as np
import pytest

import jamflow_jax.train.bundle
from data_pipelines.prepare.build import Example, build
from jamflow_jax.motion.space import get
from jamflow_jax.train.origins import Origin
from launch import evaluate


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng, examples = np.random.default_rng(0), []
    for n in range(8):
        audio = 0.1 * rng.normal(size=24_000).astype(np.float32)
        motion = 0.01 * rng.normal(size=(26, 63)).cumsum(0).astype(np.float32)
        examples.append(Example(f"clip{n}", audio, motion, "some words", "v", "test" if n < 3 else "train"))
    out = tmp_path_factory.mktemp("evaluate") / "data"
    assert build(examples, out, get("liveportrait")).exit_code == 0
    return out


@pytest.fixture(autouse=True)
def loaded(model, monkeypatch):
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: model)
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)


def test_the_table_is_written(data, tmp_path):
    command = ["--model", "run", "--data", str(data), "--out", str(tmp_path), "--steps", "2", "--clips", "2"]
    assert evaluate.main(command) == 0
    result = json.loads((tmp_path / "audio-to-motion-test.json").read_text())
    assert set(result["rows"]) == {"model", "mean curve", "shuffled audio", "ridge"} and result["clips"] == 2
    assert len(result["curves"]) == 2 and len(result["curves"][0]["model"]) == len(result["curves"][0]["truth"])
    assert "| model |" in (tmp_path / "audio-to-motion-test.md").read_text()


def test_a_perfect_model_scores_one(data, model, tmp_path, monkeypatch, capsys):
    foreign = dataclasses.replace(model, origins=(Origin("audio", "F5-TTS, x.pt", "CC-BY-NC-4.0"),))
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: foreign)
    monkeypatch.setattr(evaluate, "generate_motion", lambda model, records, *_: [record.motion for record in records])
    assert evaluate.main(["--model", "run", "--data", str(data), "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "audio-to-motion-test.json").read_text())
    rows = result["rows"]
    assert "  audio: weights from F5-TTS, x.pt, licence CC-BY-NC-4.0\n" in capsys.readouterr().out
    assert result["origins"][0]["licence"] == "CC-BY-NC-4.0"
    assert rows["model"]["raw"]["mean"] == pytest.approx(1) and rows["model"]["subtracted"]["mean"] == pytest.approx(1)
    assert rows["shuffled audio"]["raw"]["mean"] < 0.9


def test_too_few_clips(data, tmp_path, capsys):
    assert evaluate.main(["--model", "run", "--data", str(data), "--split", "validation", "--out", str(tmp_path)]) == 1
    assert "0 validation" in capsys.readouterr().err
