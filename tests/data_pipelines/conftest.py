"""Tiny data sets: tones as speech, sine waves as lips."""
import numpy as np
import pytest

from data_pipelines.prepare.build import Example, build
from jamflow_jax.motion import space


def make_clip(i: int, seconds: float = 1.0, audio: bool = True, motion: bool = True, **changes) -> Example:
    rng = np.random.default_rng(i)
    t = np.arange(int(24_000 * seconds)) / 24_000
    frames = np.arange(round(25 * seconds))
    fields = dict(
        id=f"clip{i:02d}",
        audio=(0.3 * np.sin(2 * np.pi * (200 + 10 * i) * t) + rng.normal(0, 0.01, len(t))).astype(np.float32) if audio else None,
        motion=np.stack([np.sin(frames / 3 + i), rng.normal(size=len(frames))], 1).astype(np.float32),
        text=f"clip number {i}", speaker=f"s{i % 2}", split="train",
    )  # fmt: skip
    if not motion:
        fields["motion"] = None
    return Example(**(fields | changes))


@pytest.fixture(scope="session")
def clip():
    """The function that makes an example: clip(number, seconds, audio, motion, **other fields)."""
    return make_clip


@pytest.fixture(scope="session")
def mixed_set(tmp_path_factory):
    """24 clips of 0.5 to 1.6 s: with sound and motion, sound alone, motion alone; 3 shards."""
    out = tmp_path_factory.mktemp("sets") / "mixed"
    kinds = [(True, True), (True, True), (True, False), (False, True)]
    clips = (make_clip(i, 0.5 + i % 12 / 10, *kinds[i % 4], split="validation" if i >= 20 else "train") for i in range(24))
    build(clips, out, space.get("lips"), shard_examples=9)
    return out
