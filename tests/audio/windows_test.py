"""Windowed decoding against decoding in one go."""
import jax
import numpy as np
import pytest
from flax import linen as nn

from jamflow_jax.audio import windows
from jamflow_jax.audio.griffin_lim import griffin_lim
from jamflow_jax.audio.vocoder import decode, init_vocos

MEL = np.random.default_rng(0).normal(-2, 1, (333, 100)).astype(np.float32)


@pytest.fixture(scope="module")
def vocoder():
    """Eight layers, as the published one, so that it sees as far."""
    shapes = nn.unbox(jax.eval_shape(lambda: init_vocos(16, 24, 8, jax.random.key(0))))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: (0.3 * rng.normal(size=leaf.shape)).astype(np.float32), shapes)
    return lambda mel_TF, seed: decode(params, mel_TF)


@pytest.mark.parametrize("sizes", [(120, 120, 93), (1, 2, 330), (333,), (100, 1, 1, 1, 230)])
def test_windows_of_vocos_are_the_whole(vocoder, sizes):
    pieces = np.split(MEL, np.cumsum(sizes)[:-1])
    found, whole = np.concatenate(list(windows.stream(vocoder, pieces))), vocoder(MEL, 0)
    assert len(found) == len(whole) == 332 * 256
    np.testing.assert_allclose(found, whole, atol=2e-5 * np.abs(whole).max())


def test_a_window_sees_no_more_than_its_frames(vocoder, monkeypatch):
    monkeypatch.setattr(windows, "WINDOW", 100)
    seen = []
    made = windows.windowed(lambda mel_TF, seed: seen.append(len(mel_TF)) or vocoder(mel_TF, seed))(MEL, 0)
    assert len(made) == 332 * 256 and max(seen) <= 100 + 2 * windows.CONTEXT + windows.FADE and len(seen) > 2


def test_griffin_lim_is_as_long_and_never_jumps(monkeypatch):
    monkeypatch.setattr(windows, "WINDOW", 100)

    def vocoder(mel_TF, seed):
        return griffin_lim(mel_TF, iterations=4, seed=seed)

    made, whole = windows.windowed(vocoder)(MEL[:260], 0), vocoder(MEL[:260], 0)
    assert made.shape == whole.shape
    assert np.abs(np.diff(made)).max() < 1.5 * np.abs(np.diff(whole)).max()
