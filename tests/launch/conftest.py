"""A model too small to be any good, with random weights, and files to feed it."""
import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def model():
    """A stage-2 model in LivePortrait space; its velocities are not zero."""
    import jax
    from flax import linen as nn

    from jamflow_jax.config import build
    from jamflow_jax.motion.normalise import Statistics
    from jamflow_jax.motion.space import get
    from jamflow_jax.text.tokenizer import Tokenizer
    from jamflow_jax.train.bundle import Model
    from jamflow_jax.train.config import RunConfig
    from jamflow_jax.train.state import init_params

    trunk = {"width": 32, "depth": 1, "heads": 2, "head_dim": 16}
    vocab = tuple(" abcdefghijklmnopqrstuvwxyz.,'?")
    audio = {**trunk, "text_vocab": len(vocab), "text_width": 16, "text_layers": 1}
    config = build(RunConfig, {"model": {"audio": audio, "motion": trunk, "joint_layers": (0,)}})
    rng = np.random.default_rng(0)
    shapes = nn.unbox(jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0)))
    params = jax.tree.map(lambda leaf: 0.05 * rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)
    space = get("liveportrait")
    motion = rng.normal(size=(400, space.dim)).astype(np.float32) * 0.01
    return Model(config, params, space, Statistics.from_arrays([motion]), Tokenizer("char", vocab), 7)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """speech.wav (1.6 s), voice.wav (1.0 s), face.npz and face.csv (40 frames), noise.txt."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for name, seconds in (("speech", 1.6), ("voice", 1.0)):
        time = np.arange(round(seconds * 24_000)) / 24_000
        soundfile.write(folder / f"{name}.wav", 0.3 * np.sin(2 * np.pi * 180 * time) + 0.01 * rng.normal(size=len(time)), 24_000)
    names = np.array([f"kp{k}.{axis}" for k in range(21) for axis in "xyz"])
    motion = 0.01 * rng.normal(size=(40, 63)).astype(np.float32)
    np.savez(folder / "face.npz", motion=motion, names=names, fps=25)
    (folder / "noise.txt").write_text("this is no sound")
    return folder
