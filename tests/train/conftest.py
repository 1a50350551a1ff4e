"""A run small enough for a second: tiny streams, batches of random frames made from the step number."""
import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import pytest

from jamflow_jax.config import build
from jamflow_jax.parallel.mesh import make_mesh
from jamflow_jax.timeline import motion_frames
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.state import layout

TRUNK = {"width": 32, "depth": 2, "heads": 2, "head_dim": 16}
TINY = {
    "steps": 12,
    "log_every": 5,  # does not divide the checkpoint interval: pending metrics must survive
    "model": {"audio": {**TRUNK, "text_vocab": 7, "text_width": 16, "text_layers": 1},
              "motion": {**TRUNK, "mouth_dim": 3, "rest_dim": 2}, "joint_layers": (0, 1)},
    "optim": {"lr": 1e-2, "warmup": 2, "ema": 0.9},
    "checkpoint": {"every": 3, "keep": 2},
    "evaluation": {"every": 6, "batches": 1},
}  # fmt: skip
LIVE = np.array([True, True, False])


def make_batch(step: int, size: int = 4, frames: int = 30, has_motion: bool = True) -> dict[str, np.ndarray]:
    """The batch of a step: a pure function of its arguments."""
    rng, m = np.random.default_rng(step), motion_frames(frames)
    flags = {name: np.ones(size, bool) for name in ("has_audio", "has_text")}
    moves = np.full(size, has_motion)
    return {
        "mel": rng.normal(size=(size, frames, 100)).astype(np.float32),
        "mouth": rng.normal(size=(size, m, 3)).astype(np.float32) * has_motion * LIVE,
        "rest": rng.normal(size=(size, m, 2)).astype(np.float32) * has_motion,
        "text": rng.integers(-1, 7, (size, frames)).astype(np.int32),
        "length": rng.integers(frames // 2, frames + 1, size).astype(np.int32),
        "example_id": rng.integers(0, 1000, size).astype(np.int32),
        "weight": np.ones(size, np.float32),
        "has_motion": moves, "has_rest": moves, **flags,
    }  # fmt: skip


def random_params(config: RunConfig):
    """Host arrays, random everywhere: a fresh model's velocity is zero whatever its layers do."""
    rng, shapes = np.random.default_rng(0), layout(config, make_mesh(devices=jax.devices()[:1]))[0].params
    return jax.tree.map(lambda leaf: (0.1 * rng.standard_normal(leaf.shape)).astype(np.float32), shapes)


@dataclasses.dataclass
class FakeSource:
    """Batches by step number; `before(step)` is called first, to interrupt a run where a test wants it."""

    before: Callable[[int], None] = lambda step: None

    def iterate(self, start: int, stop: int | None = None):
        for step in range(start, stop):
            self.before(step)
            yield make_batch(step)


@pytest.fixture
def tiny():
    """A function (fields to change) -> RunConfig."""

    def make(**changes) -> RunConfig:
        values = {**TINY, **{k: {**TINY.get(k, {}), **v} if isinstance(v, dict) else v for k, v in changes.items()}}
        return build(RunConfig, values)

    return make


@pytest.fixture
def batch():
    return make_batch


@pytest.fixture
def live():
    return LIVE


@pytest.fixture(name="random_params")
def random_params_fixture():
    return random_params


@pytest.fixture
def source():
    return FakeSource
