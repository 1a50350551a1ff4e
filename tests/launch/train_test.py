"""`jamflow train`: what is wrong with the start of a run leaves no directory behind."""
import numpy as np
import pytest

from data_pipelines.prepare.build import Example, build
from jamflow_jax.motion import space
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
