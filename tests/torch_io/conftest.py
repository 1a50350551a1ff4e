"""A joint model small enough for a second, with random parameters, and its PyTorch twin."""
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import linen as nn

from jamflow_jax.config import to_dict
from jamflow_jax.model import AudioConfig, JamFlowConfig, MotionConfig, init
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer

TRUNK = {"width": 32, "depth": 2, "heads": 2, "head_dim": 16}
CONFIG = JamFlowConfig(
    audio=AudioConfig(**TRUNK, text_vocab=9, text_width=16, text_layers=1),
    motion=MotionConfig(**TRUNK, mouth_dim=4, rest_dim=3),
    joint_layers=(0,),
)


@pytest.fixture(scope="session")
def random_params():
    """A function (config, init) -> random parameters everywhere: fresh ones are zero where it would show. No compilation."""

    def make(config, make=init, scale=0.12):
        shapes = nn.unbox(jax.eval_shape(lambda: make(config, jax.random.key(0))))
        rng = np.random.default_rng(0)
        return jax.tree.map(lambda leaf: scale * rng.standard_normal(leaf.shape, np.float32), shapes)

    return make


@pytest.fixture(scope="session")
def twin_of():
    """A function (config, params) -> the PyTorch model of these parameters."""
    torch = pytest.importorskip("torch")
    from jamflow_jax.torch_io import export, jamflow_torch

    def make(config, params):
        with torch.device("meta"):
            twin = jamflow_torch.JamFlow({"model": json.loads(json.dumps(to_dict(config))), "streams": list(params)})
        for stream in list(params):
            table = export.TABLES[stream][0](getattr(config, stream))
            state = {key: torch.from_numpy(value) for key, value in export.state_dict(table, params[stream], "").items()}
            getattr(twin, stream).load_state_dict(state, assign=True)
        return twin.requires_grad_(False).eval()

    return make


@pytest.fixture(scope="session")
def tiny(random_params):
    """All that an export takes."""
    rng = np.random.default_rng(1)
    return SimpleNamespace(
        config=CONFIG, params=random_params(CONFIG), tokenizer=Tokenizer("char", tuple(" abcdefgh")),
        space=MotionSpace("test", tuple("abcdefgh"), (6, 0, 2, 3), (1, 5, 4)),
        statistics=Statistics.from_arrays([rng.normal(2, 3, (50, 8)) * (np.arange(8) != 2)]),
        facts={"stage": 2, "speech": "mel", "step": 7},
    )  # fmt: skip
