"""`jamflow convert f5tts | vocos`: a checkpoint becomes a model that speaks and can be trained on, or nothing is written."""
import json
import os
import shutil

import jax
import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from jamflow_jax.torch_io import f5tts, vocos
from jamflow_jax.train import origins
from jamflow_jax.train.bundle import load_model
from launch import convert, sample

VOCAB = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,'?!-:"  # the 60 tokens of the tiny checkpoint


@pytest.fixture(scope="module", autouse=True)
def quiet():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
        yield


@pytest.fixture(scope="module")
def source(golden, tmp_path_factory):
    """A checkpoint with its vocabulary beside it, as F5-TTS publishes them, and two tokens more to add."""
    folder = tmp_path_factory.mktemp("f5")
    shutil.copy(golden / "f5tts_tiny.safetensors", folder / "model_7.safetensors")
    (folder / "vocab.txt").write_bytes("".join(f"{token}\r\n" for token in VOCAB).encode())
    (folder / "more.txt").write_text(" \nß\na\né\n")
    return folder


@pytest.fixture(scope="module")
def words(source, golden):
    """The command's arguments but for DST."""
    config = str(golden / "f5tts_v1_tiny_config.json")
    return ["f5tts", str(source / "model_7.safetensors"), "--config", config, "--tokenizer", "char"]


@pytest.fixture(scope="module")
def converted(words, source, golden, tmp_path_factory):
    target = tmp_path_factory.mktemp("converted") / "model"
    assert convert.main([*words, str(target), "--extend-vocab", str(source / "more.txt")]) == 0
    assert convert.main(["vocos", str(golden / "vocos_tiny.safetensors"), str(target)]) == 0
    return target


def test_the_model_has_the_checkpoints_numbers_and_the_new_tokens(converted, source, golden):
    model = load_model(converted)
    arch = json.loads((golden / "f5tts_v1_tiny_config.json").read_text())
    config, params = f5tts.load(source / "model_7.safetensors", arch)
    assert model.params.keys() == {"audio"} and model.tokenizer.vocab == (*VOCAB, "ß", "é")
    assert model.config.model.audio.text_vocab == 62
    got = jax.device_get(model.params["audio"])
    np.testing.assert_array_equal(got["text"]["table"][:61], params["text"]["table"])
    assert got["text"]["table"].shape == (63, 64)
    got["text"]["table"] = params["text"]["table"]
    jax.tree.map(np.testing.assert_array_equal, got, params)
    assert [(o.part, o.licence.split(" ")[0]) for o in model.origins] == [("audio", "CC-BY-NC-4.0"), ("vocoder", "MIT")]
    jax.tree.map(np.testing.assert_array_equal, vocos.load(converted / "vocoder.safetensors"),
                 vocos.load(golden / "vocos_tiny.safetensors"))  # fmt: skip


def test_it_speaks_with_its_vocoder_and_says_the_licence(converted, files, tmp_path, capsys):
    model = ["--model", str(converted), "--out", str(tmp_path)]
    assert sample.main([*model, "--text", "Hé.", "--duration", "1", "--steps", "1", "--files", "npz,wav"]) == 0
    said = capsys.readouterr().out
    assert "speech only; sound by Vocos, " in said
    assert "audio: weights from F5-TTS, model_7.safetensors, licence CC-BY-NC-4.0" in said
    arrays, made = np.load(tmp_path / "sample.npz"), soundfile.read(tmp_path / "sample.wav")[0]
    assert "motion" not in arrays.files and len(made) == (len(arrays["mel"]) - 1) * 256
    facts = json.loads(str(arrays["facts"]))
    assert facts["vocoder"].startswith("Vocos, ") and facts["origins"][0]["licence"].startswith("CC-BY-NC-4.0")
    assert sample.main([*model, "--audio", str(files / "speech.wav")]) == 1
    assert "needs the motion stream, and this model has none" in capsys.readouterr().err


def test_what_was_taken_is_said(words, tmp_path, capsys):
    assert convert.main([*words, str(tmp_path / "m"), "--licence", "CC0-1.0"]) == 0
    said = capsys.readouterr().out
    assert "63 tensors, 693,924 parameters: the average (EMA)" in said and "1 that are no parameters: inv_freq" in said
    assert "licence CC0-1.0\n" in said


def test_a_vocoder_has_its_own_licence_and_never_that_of_another(converted, golden, tmp_path, monkeypatch):
    model, other = tmp_path / "model", tmp_path / "other.safetensors"
    shutil.copytree(converted, model)
    save_file(load_file(golden / "vocos_tiny.safetensors"), other, {"licence": "CC-BY-4.0"})

    def licences():
        return [origin.licence for origin in origins.read(model) if origin.part == "vocoder"]

    assert licences() == ["MIT (as released; the file does not say)"]
    replace = os.replace
    with monkeypatch.context() as killed:
        def stop(source, target):
            if str(target).endswith("vocoder.safetensors"):
                raise KeyboardInterrupt
            replace(source, target)

        killed.setattr(os, "replace", stop)
        assert convert.main(["vocos", str(other), str(model)]) == 130
    assert licences() == ["MIT (as released; the file does not say)", "CC-BY-4.0"]
    assert convert.main(["vocos", str(other), str(model)]) == 0
    assert licences() == ["CC-BY-4.0"]


def test_what_cannot_be_converted_leaves_nothing(words, source, golden, tmp_path, capsys):
    nan = load_file(source / "model_7.safetensors")
    nan["ema_model.transformer.proj_out.bias"][0] = np.nan
    save_file(nan, tmp_path / "nan.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((source / "model_7.safetensors").read_bytes()[:99_999])
    (tmp_path / "short.txt").write_text(" \na\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    vocab, target = ["--vocab", str(source / "vocab.txt")], tmp_path / "new"
    cases = [
        (["f5tts", str(tmp_path / "nan.safetensors"), str(target), *words[2:], *vocab], 1, "proj_out.bias holds values"),
        (["f5tts", str(tmp_path / "cut.safetensors"), str(target), *words[2:], *vocab], 1, "cut short"),
        (["f5tts", str(golden / "vocos_tiny.safetensors"), str(target), *words[2:], *vocab], 1, "a checkpoint of Vocos"),
        (["f5tts", str(tmp_path / "nan.safetensors"), str(target), *words[2:]], 1, "no vocabulary beside the checkpoint"),
        ([*words, str(target), "--vocab", str(tmp_path / "short.txt")], 1, "made with 60 tokens, but the vocabulary has 2"),
        ([*words, str(target), "--raw"], 1, "holds only the average"),
        ([*words[:2], str(target), "--config", "v3"], 2, "v3: neither"),
        ([*words, str(tmp_path / "full")], 1, "full: is there already"),
        (["vocos", str(source / "model_7.safetensors"), str(tmp_path)], 1, "not the directory of a run"),
    ]  # fmt: skip
    before = sorted(path.name for path in tmp_path.iterdir())
    for arguments, code, said in cases:
        assert convert.main(arguments) == code, said
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and said in error
    assert sorted(path.name for path in tmp_path.iterdir()) == before
