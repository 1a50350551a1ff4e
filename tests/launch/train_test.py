"""`jamflow train`: what is wrong with the start of a run leaves no directory behind; what it starts from is said and goes along."""
import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from flax import linen as nn

from benchmarks import processes
from data_pipelines.prepare.build import Example, build
from jamflow_jax.model.jamflow import init_audio
from jamflow_jax.motion import space
from jamflow_jax.train import stages
from launch import train

JAMFLOW = (sys.executable, "-m", "launch.cli")
CONFIG = """
from ml_collections import ConfigDict

TRUNK = {"width": 32, "depth": 1, "heads": 2, "head_dim": 16}


def get_config():
    return ConfigDict({
        "steps": 3, "model": {"audio": {**TRUNK, "text_width": 16, "text_layers": 1}, "motion": TRUNK, "joint_layers": (0,)},
        "optim": {"warmup": 1}, "data": {"buckets": (60,), "batch_frames": 120},
    })
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The command's arguments but for --workdir."""
    folder, rng = tmp_path_factory.mktemp("train"), np.random.default_rng(0)
    clips = [Example(f"{i}", rng.normal(0, 0.1, 12_000), rng.normal(size=(13, 2)), "abc", split="train") for i in range(2)]
    build(clips, folder / "set", space.get("lips"))
    (folder / "tiny.py").write_text(CONFIG)
    return ["--config", str(folder / "tiny.py"), f"--config.data.path={folder / 'set'}"]


@pytest.mark.parametrize("field", ["run", "audio", "motion"])
def test_a_wrong_start_leaves_nothing(words, tmp_path, capsys, monkeypatch, field):
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    source = tmp_path / "nowhere"
    source.mkdir()
    assert train.main([*words, "--workdir", str(tmp_path / "run"), f"--config.init.{field}={source}"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "nowhere: not the directory of a run" in said
    assert not (tmp_path / "run").exists()


def test_a_workdir_is_a_directory_or_googles(words, capsys):
    assert train.main([*words, "--workdir", "s3://bucket/run"]) == 2
    assert "error: s3://bucket/run: runs and models live in directories and at gs://BUCKET" in capsys.readouterr().err


def test_a_start_is_told_and_its_licence_and_vocoder_go_along(words, tmp_path, capsys, monkeypatch):
    from jamflow_jax.motion.normalise import Statistics
    from jamflow_jax.text.tokenizer import Tokenizer
    from jamflow_jax.train import bundle, loop, origins
    from launch import run_config

    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    config = run_config.load(words[1], [words[2]])
    lips, abc = space.get("lips"), Tokenizer.from_texts(["abc"])
    model, _ = stages.fit_to_data(config.model, mouth_dim=2, rest_dim=0, text_vocab=4, speech_dim=0)
    shapes = nn.unbox(jax.eval_shape(lambda key: init_audio(model.audio, key), jax.random.key(0)))
    audio = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    origin = origins.Origin("audio", "F5-TTS, x.safetensors", "CC-BY-NC-4.0")
    flat = Statistics.from_arrays([np.eye(2)])
    source, run = tmp_path / "f5", tmp_path / "run"
    made = bundle.Model(dataclasses.replace(config, model=model), {"audio": audio}, lips, flat, abc, 0, (origin,))
    bundle.save_model(source, made)
    (source / bundle.VOCODER).write_bytes(b"a vocoder")

    def begin_only(config, data, mesh, workdir, start, say, begun, *_):
        given = start()
        begun()
        assert given.keys() == {"audio"}
        return loop.Outcome(0, interrupted=True)

    monkeypatch.setattr(loop, "run", begin_only)
    assert train.main([*words, "--workdir", str(run), f"--config.init.audio={source}"]) == 0
    said = capsys.readouterr().out
    table = said.partition("where the parameters start:\n")[2].splitlines()
    assert table[0].split()[0] == "audio" and table[0].endswith(f"{source}, step 0")
    assert table[1].split()[0] == "motion" and table[1].endswith("new, random from seed 0")
    assert table[2] == f"  {origin}" and origins.read(run) == (origin,)
    assert (run / bundle.VOCODER).read_bytes() == b"a vocoder"
    monkeypatch.setattr(loop, "run", lambda *_: loop.Outcome(0, interrupted=True))  # resumed: the licence is still said and kept
    assert train.main([*words, "--workdir", str(run), f"--config.init.audio={source}"]) == 0
    assert str(origin) in capsys.readouterr().out and origins.read(run) == (origin,)


def test_the_runs_time_is_the_processes_from_its_start_to_the_export(words, tmp_path, capsys, monkeypatch):
    from jamflow_jax.train import events, export, loop

    seconds, exported = {}, []

    def run(config, data, mesh, workdir, start, say, begun, ended, times):
        seconds.update(times.take())
        ended()
        return loop.Outcome(3, interrupted=False)

    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    monkeypatch.setattr(events, "process_start", lambda: time.perf_counter() - 1000)
    monkeypatch.setattr(loop, "run", run)
    monkeypatch.setattr(export, "export", lambda workdir, *_: exported.append(workdir))
    assert train.main([*words, "--workdir", str(tmp_path / "run"), "--config.checkpoint.export=true"]) == 0
    assert seconds.keys() == {"initialise"} and seconds["initialise"] > 1000
    assert exported == [tmp_path / "run"] and (tmp_path / "run" / "config.json").exists()


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("axis", ["tensor", pytest.param("sequence", marks=pytest.mark.slow)])
def test_two_processes_that_share_every_example_train_as_one(words, tmp_path, axis):
    """They are at one place of (data, fsdp), so both must read the whole batch."""
    fields = (*processes.MODEL, words[2].removeprefix("--config."), "steps=3", "mesh.fsdp=1")
    processes.run(tmp_path / "one", 1, 1, fields, 550)
    processes.run(tmp_path / "two", 2, 1, (*fields, f"mesh.{axis}=2"), 550)
    one, two = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("one", "two"))
    assert one.count("\n") == 3 and processes.apart(two, one) < 1e-5
    speeds = ([json.loads(line) for line in (tmp_path / name / "speed.jsonl").read_text().splitlines()] for name in ("one", "two"))
    work = [[line["tflops_per_s"] / line["steps_per_s"] for line in lines] for lines in speeds]
    assert work[0] == pytest.approx(work[1], rel=1e-2) and sum(work[0]) > 0


@pytest.mark.slow
def test_at_an_address_from_the_first_step_to_samples(words, store, tmp_path):
    """The commands themselves: trained at gs://, killed, trained to the end, evaluated and sampled from, with data there too."""
    def jamflow(*words, code=0):
        done = subprocess.run([*JAMFLOW, *map(str, words)], env=store.env, capture_output=True, text=True, timeout=900)
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    folder = Path(words[2].partition("=")[2])
    for path in filter(Path.is_file, folder.rglob("*")):
        store.put(f"bucket/set/{path.relative_to(folder)}", path.read_bytes())
    train = ["train", *words[:2], "--config.data.path=gs://bucket/set", "--config.steps=12", "--config.checkpoint.every=2",
             "--config.log_every=1", "--config.checkpoint.export=true", "--workdir"]  # fmt: skip
    process = subprocess.Popen([*JAMFLOW, *train, "gs://bucket/cli"], env=store.env, stdout=subprocess.DEVNULL)
    while "bucket/cli/checkpoints/4/commit_success.txt" not in store.objects:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill(), process.wait()
    assert "resuming at step" in jamflow(*train, "gs://bucket/cli")
    jamflow(*train, tmp_path / "run")
    assert store.objects["bucket/cli/metrics.jsonl"] == (tmp_path / "run" / "metrics.jsonl").read_bytes()

    soundfile.write(tmp_path / "voice.wav", np.random.default_rng(0).normal(0, 0.1, 24_000), 24_000)
    for model in ("gs://bucket/cli/best", tmp_path / "run" / "best"):
        out = tmp_path / Path(model).parent.name
        jamflow("sample", "--model", model, "--audio", tmp_path / "voice.wav", "--steps", 2, "--files", "npz",
                "--out", out / "samples")  # fmt: skip
        jamflow("evaluate", "--model", model, "--data", folder, "--split", "train", "--task", "audio-to-motion", "--steps", 2,
                "--shown", 0, "--out", out / "evaluation")  # fmt: skip
    here, there = (np.load(tmp_path / name / "samples" / "sample.npz")["motion"] for name in ("run", "cli"))
    assert np.array_equal(here, there)
    assert [path.name for path in (tmp_path / "cli" / "evaluation").glob("*.json")] == ["audio-to-motion-train.json"]
