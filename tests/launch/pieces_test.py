"""Requests longer than a window, from the command line's words to the files."""
import json

import numpy as np
import pytest
import soundfile

import jamflow_jax.train.bundle
from jamflow_jax.errors import ConfigError
from launch import pieces, sample
from launch.ask import Ask, read


def test_what_fits_is_not_cut_and_what_does_not_is_cut_by_its_text(model, files):
    window = pieces.window_frames(4.0)
    assert window == 375
    assert pieces.cut(read(Ask(text="hello there."), model), model.tokenizer, window) is None
    text = "one two three four. five six. seven eight nine ten eleven. " * 4
    question = read(Ask(text=text, ref_audio=str(files / "voice.wav"), ref_text="words", rate=15), model)
    cut = pieces.cut(question, model.tokenizer, window)
    assert cut.prefix == question.prefix and cut.ends[-1] == question.request.length
    np.testing.assert_array_equal(np.concatenate([cut.prefix_text, *cut.texts]), question.request.text_ids)
    marks = np.array([cut.prefix, *cut.ends])
    assert (marks[2:] - marks[:-2]).max() < 1.2 * window  # a piece and the one before it
    spoken = read(Ask(audio=str(files / "speech.wav"), duration=9.0), model)
    assert np.diff([0, *pieces.cut(spoken, model.tokenizer, window).ends]).max() == 165


@pytest.mark.parametrize("seconds", [1.0, 500.0, float("nan")])
def test_impossible_windows_are_refused(seconds):
    with pytest.raises(ConfigError, match="--window"):
        pieces.window_frames(seconds)


def test_a_long_text_becomes_one_clip(model, golden, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: model)
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    words = ["--model", "run", "--steps", "1", "--out", str(tmp_path), "--files", "wav,npz", "--window", "4"]
    words += ["--vocoder", str(golden / "vocos_tiny.safetensors"), "--text", "a word or two. " * 6]
    assert sample.main(words) == 0
    assert "note: sample: longer than --window, made in 3 pieces\n" in capsys.readouterr().err
    arrays = np.load(tmp_path / "sample.npz")
    assert arrays["mel"].shape == (563, 100) and arrays["motion"].shape == (151, 63) and np.isfinite(arrays["motion"]).all()
    assert soundfile.info(tmp_path / "sample.wav").frames == 562 * 256
    assert json.loads(str(arrays["facts"]))["request"]["text"].startswith("a word")
