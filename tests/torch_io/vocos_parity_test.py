"""Vocos against what its own code computed (float32, CPU)."""
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.audio.vocoder import decode, vocos
from jamflow_jax.torch_io import vocos as checkpoint


@pytest.fixture(scope="module")
def io(golden):
    arrays = np.load(golden / "vocos_tiny_io.npz")
    return {name: arrays[name] for name in arrays}


@pytest.fixture(scope="module")
def params(golden):
    return checkpoint.load(golden / "vocos_tiny.safetensors")


def test_audio_agrees(io, params):
    mel_BTF = io["mel"].transpose(0, 2, 1)
    made = np.asarray(vocos(params, mel_BTF))
    assert made.shape == io["audio"].shape == (1, 119 * 256)
    np.testing.assert_allclose(made, io["audio"], atol=1e-3 * io["audio"].std(), rtol=0)
    np.testing.assert_allclose(decode(params, mel_BTF[0]), io["audio"][0], atol=1e-3 * io["audio"].std(), rtol=0)


def test_a_padded_row_is_what_it_is_alone(io, params):
    mel_BTF = jnp.asarray(io["mel"].transpose(0, 2, 1))
    batch = np.asarray(vocos(params, jnp.concatenate([mel_BTF, mel_BTF]), jnp.array([70, 120])))
    alone = np.asarray(vocos(params, mel_BTF[:, :70]))[0]
    np.testing.assert_allclose(batch[0, : 69 * 256], alone, atol=2e-5 * alone.std(), rtol=0)
    assert not batch[0, 69 * 256 :].any()
    np.testing.assert_allclose(batch[1], np.asarray(vocos(params, mel_BTF))[0], atol=2e-5 * alone.std(), rtol=0)
