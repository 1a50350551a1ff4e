"""`jamflow evaluate` writes every task's tables; a model that knows the truth scores as the truth does, and the controls do not."""
import dataclasses
import json
import re
import types

import numpy as np
import pytest

import jamflow_jax.train.bundle
from data_pipelines.dataset import Corpus
from data_pipelines.prepare.build import Example, build
from jamflow_jax.flow.requests import check
from jamflow_jax.motion.space import get
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.train.origins import Origin
from launch import evaluate, report
from launch.evaluation.tasks import TASKS, Take, hidden

COMMAND = ["--model", "run", "--shown", "0", "--recogniser", "none", "--vocoder", "griffin-lim"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Noise whose loudness is the jaw's: a mouth that follows its sound, and cheeks that follow the mouth."""
    rng, examples = np.random.default_rng(0), []
    for n in range(12):
        loud = np.convolve(rng.random(30), np.ones(4) / 4, "valid")[:26]
        audio = np.repeat(loud, 960)[:24_000] * 0.3 * rng.normal(size=24_000)
        motion = 1e-3 * rng.normal(size=(26, 63))
        motion[:, 19 * 3 + 1] += 0.05 * loud
        motion[:, 3 * 3 + 1] += 0.01 * loud
        words = {"words": [[0.1, 0.5, "bob"], [0.5, 0.9, "map"]]}
        split = "test" if n < 4 else "train"
        arrays = audio.astype(np.float32), motion.astype(np.float32)
        examples.append(Example(f"clip{n}", *arrays, "bob map", "v", split, extra=words))
    out = tmp_path_factory.mktemp("evaluate") / "data"
    assert build(examples, out, get("liveportrait")).exit_code == 0
    return out


@pytest.fixture(autouse=True)
def loaded(model, monkeypatch):
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: model)
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    hum = np.sin(np.arange(99))
    monkeypatch.setattr("launch.outputs.sound.griffin_lim", lambda mel_TF, seed: np.resize(hum, (len(mel_TF) - 1) * 256))


def knows(data, monkeypatch):
    """Stands the truth in for a model: clip i's request has seed i."""
    corpus = Corpus(data)
    records = [corpus.record(int(i)) for i in corpus.index.select("test")]

    def told(model, requests, config):
        for made, _ in requests:
            check(model.config.model, made)
        truth = [records[made.seed % evaluate.SAMPLE_STRIDE] for made, _ in requests]
        return [Take(r.mel.astype(np.float32) if made.want_audio else None, r.motion if made.want_motion else None)
                for r, (made, _) in zip(truth, requests)]  # fmt: skip

    monkeypatch.setattr(evaluate, "generated", told)


def read(folder, name):
    return json.loads((folder / f"{name}-test.json").read_text())


def test_a_model_with_random_weights_dubs(data, tmp_path):
    command = [*COMMAND, "--data", str(data), "--out", str(tmp_path), "--steps", "1", "--clips", "2", "--task", "dubbing"]
    assert evaluate.main(command) == 0
    rows = read(tmp_path, "dubbing")["tables"]["speech"]["rows"]
    assert rows["model"]["mel"]["mean"] > 1 and rows["model"] != rows["model, shuffled"], "generated again, for other lips"
    assert "| model |" in (tmp_path / "dubbing-test.md").read_text()


def test_a_perfect_model_scores_as_the_truth(data, model, tmp_path, monkeypatch, capsys):
    foreign = dataclasses.replace(model, origins=(Origin("audio", "F5-TTS, x.pt", "CC-BY-NC-4.0"),))
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: foreign)
    knows(data, monkeypatch)
    tasks = ["audio-to-motion", "motion-to-speech", "text-and-reference-to-both", "edit"]
    command = [*COMMAND, "--data", str(data), "--out", str(tmp_path), "--samples", "2", "--rest", "--task", ",".join(tasks)]
    assert evaluate.main(command) == 0
    assert "  audio: weights from F5-TTS, x.pt, licence CC-BY-NC-4.0\n" in capsys.readouterr().out
    for name in tasks:
        table = read(tmp_path, name)["tables"]["motion" if "motion" in TASKS[name].makes else "speech"]
        assert "model" in table["rows"] and (tmp_path / f"{name}-test.html").exists()
    result = read(tmp_path, "audio-to-motion")
    assert set(result["rows"]) == {"model", "mean curve", "shuffled audio", "ridge"} and len(result["curves"]) == 4
    assert result["origins"][0]["licence"] == "CC-BY-NC-4.0"
    assert result["rows"]["model"]["raw"]["mean"] == pytest.approx(1) and result["rows"]["shuffled audio"]["raw"]["mean"] < 0.9
    motion, sync, leak = (result["tables"][name]["rows"] for name in ("motion", "sync", "leakage"))
    assert motion["model"]["error"]["mean"] == 0 and motion["model"]["r_minus_mean"]["mean"] == pytest.approx(1)
    assert motion["model"]["diversity"]["mean"] == 0 < motion["noised"]["diversity"]["mean"]
    for row in ("mean curve", "shifted", "shuffled", "noised", "model, shuffled"):
        assert motion[row]["error"]["mean"] > 0.1, row
    assert motion["mean curve"]["jitter"]["mean"] < 1 < motion["noised"]["jitter"]["mean"]
    assert sync["model"] == sync["truth"] and sync["model"]["matched"]["mean"] > 0.8 > sync["shuffled"]["matched"]["mean"]
    assert sync["truth"]["retrieval"]["mean"] == 1 and sync["mean curve"]["retrieval"]["mean"] == 0
    assert sync["truth"]["in_step"]["mean"] == 1 and sync["shifted"]["in_step"]["mean"] < 0.5
    lag = result["lag_curves"]["shifted"]
    assert lag["seconds"][int(np.argmax([value["mean"] for value in lag["r"]]))] == 0.2
    assert leak["truth"]["r"]["mean"] > leak["shuffled"]["r"]["mean"] + 0.3
    assert result["tables"]["motion"]["minus"]["shuffled"]["error"]["high"] < 0
    assert set(result["dimensions"]["model"]) >= {"kp19.y"}
    assert len(result["tables"]["sync"]["per_clip"]["model"]["matched"]) == 4
    speech = read(tmp_path, "motion-to-speech")["tables"]["speech"]["rows"]
    assert speech["model"]["mel"]["mean"] == 0 < speech["model, shuffled"]["mel"]["mean"]
    assert speech["shuffled"]["mel_unaligned"]["mean"] > 1


def test_a_cascade_moves_to_the_speech_it_made(data, model, tmp_path, monkeypatch):
    speaker, heard = dataclasses.replace(model), []
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda run, **_: speaker if run == "speech" else model)

    def told(which, requests, config):
        for made, _ in requests:
            check(which.config.model, made)
        if which is speaker:
            assert all(made.text_ids is not None and not made.want_motion for made, _ in requests)
            return [Take(np.full((made.length, 100), made.seed % 7, np.float32)) for made, _ in requests]
        heard.extend(made.mel[0, 0] for made, _ in requests)
        return [Take(None, np.full((26, 63), made.mel[0, 0])) for made, _ in requests]

    monkeypatch.setattr(evaluate, "generated", told)
    command = [*COMMAND, "--data", str(data), "--out", str(tmp_path), "--model-only", "--speech-from", "speech"]
    assert evaluate.main([*command, "--task", "audio-to-motion"]) == 2
    assert evaluate.main([*command, "--task", "text-to-both"]) == 0
    assert heard[:4] == [0, 1, 2, 3] and heard[4] == evaluate.SAMPLE_STRIDE % 7, "its own takes, then others for the last row"
    result = read(tmp_path, "text-to-both")
    assert set(result["tables"]["sync"]["rows"]) == {"model", "model, shuffled", "model, other take"}
    assert set(result["tables"]["motion"]["rows"]) == {"model", "model, shuffled"} and result["speech_from"] == "speech"


def test_what_is_hidden_lies_on_the_grid():
    for length in (50, 93, 280):
        mel, motion = hidden(length)
        assert mel.start % 15 == 0 and motion.start * 15 == mel.start * 4 and 0 < mel.stop - mel.start < length


def test_baselines_need_no_model(data, tmp_path):
    command = ["--data", str(data), "--baselines-only", "--out", str(tmp_path), "--recogniser", "none", "--clips", "2"]
    assert evaluate.main([*command, "--shown", "1"]) == 0
    result = read(tmp_path, "baselines")
    assert set(result["tables"]) == {"speech", "motion", "sync", "leakage"} and result["model"] is None
    assert result["tables"]["speech"]["rows"]["truth"]["mel"]["mean"] == 0
    assert report.main(["--evaluation", str(tmp_path / "baselines-test.json")]) == 0
    page = (tmp_path / "baselines-test.html").read_text()
    assert page.count("<video") == 4 and "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize("more, code, said", [
    (["--model", "run", "--split", "validation"], 1, "0 validation and 8 training clips .* train 8, validation 0, test 4"),
    (["--model", "run", "--baselines-only"], 2, "give --model RUN, or --baselines-only"),
    ([], 2, "give --model RUN"),
    (["--baselines-only"], 2, "needs --out DIR"),
    (["--model", "run", "--task", "motion-to-speech", "--recogniser", "/no/whisper"], 1, "none, or the folder of a Whisper"),
    (["--model", "run", "--task", "motion-to-speech", "--embedder", "/no/wavlm"], 1, "/no/wavlm: no embedder"),
    (["--model", "run", "--syncnet", "x.model"], 2, "name a picture with --face FILE"),
    (["--model", "run", "--retrieval", "1"], 2, "--retrieval and --clips 2 or more"),
])  # fmt: skip
def test_mistakes_are_one_line(data, tmp_path, capsys, monkeypatch, more, code, said):
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(["--data", str(data), *more]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and re.search(said, errors[0])


def test_a_vocabulary_or_space_that_does_not_fit(data, model, tmp_path, monkeypatch, capsys):
    command = ["--model", "run", "--data", str(data), "--out", str(tmp_path), "--task", "text-to-speech"]
    other = dataclasses.replace(model, tokenizer=Tokenizer("char", (" ", "x")))
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: other)
    assert evaluate.main(command) == 1
    assert "vocabulary lacks characters of 4 of 4 texts (a b m o p): prepare the data as the model's was" in capsys.readouterr().err
    other = dataclasses.replace(model, space=get("blendshapes", names=["jawOpen"]))
    monkeypatch.setattr(jamflow_jax.train.bundle, "load_model", lambda *_, **__: other)
    assert evaluate.main(command) == 1
    assert "no converter from motion space liveportrait to blendshapes" in capsys.readouterr().err


def test_a_videos_pictures_before_its_sound_are_not_scored(monkeypatch):
    class Talker(types.SimpleNamespace):
        lead = 3

        def __call__(self, clip):
            return [np.full((8, 8, 3), i, np.uint8) for i in range(3 + len(clip.motion_MD))]

    monkeypatch.setattr("launch.outputs.portrait.Talker", lambda *_: Talker())
    monkeypatch.setattr("launch.outputs.portrait.read_source", lambda *_: None)
    monkeypatch.setattr("launch.render.load_networks", lambda *_: None)
    monkeypatch.setattr("jamflow_jax.evaluate.syncnet.SyncNet.load", lambda _: lambda shown, _: shown[:, 0, 0, 0].tolist())
    lse = evaluate._lse(types.SimpleNamespace(syncnet="x.model", face="v.mp4", face_box=None, face_weights=None))
    assert lse(np.zeros((5, 63)), np.zeros(100)) == [3, 4, 5, 6, 7]
