"""`jamflow train`: what is wrong with the start of a run leaves no directory behind; what it starts from is said and goes along."""
import dataclasses

import jax
import numpy as np
import pytest
from flax import linen as nn

from data_pipelines.prepare.build import Example, build
from jamflow_jax.model.jamflow import init_audio
from jamflow_jax.motion import space
from jamflow_jax.train import stages
from launch import train

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


def test_a_workdir_is_a_directory(words, capsys):
    assert train.main([*words, "--workdir", "gs://bucket/run"]) == 2
    assert "--workdir gs://bucket/run: a run needs a directory" in capsys.readouterr().err


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

    def begin_only(config, data, mesh, workdir, start, say, begun):
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
