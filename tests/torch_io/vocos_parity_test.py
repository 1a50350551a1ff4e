"""Vocos against what its own code computed (float32, CPU)."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jamflow_jax.audio.vocoder import decode, vocos
from jamflow_jax.errors import InputError
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


def test_any_width_and_depth(golden, tmp_path):
    state = load_file(golden / "vocos_tiny.safetensors")
    one = {key: value for key, value in state.items() if "convnext.1." not in key}
    save_file(one, tmp_path / "one.safetensors")
    assert checkpoint.load(tmp_path / "one.safetensors")["layers"]["gamma"].shape == (1, 64)
    torch = pytest.importorskip("torch")
    tensors = {key: torch.from_numpy(value) for key, value in state.items()} | {"multiperioddisc.x": torch.ones(1)}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "pytorch_model.bin")  # as its trainer's checkpoints
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load(tmp_path / "pytorch_model.bin"), checkpoint.load(
        golden / "vocos_tiny.safetensors"))  # fmt: skip


@pytest.mark.parametrize("change, words", [
    ({"backbone.convnext.0.gamma": None, "extra": 1}, r"backbone\.convnext\.0\.gamma is missing; extra is left over"),
    ({"backbone.embed.weight": (64, 80, 7)}, "a Vocos for 80 mel bands and a window of 1024"),
    ({"head.out.weight": (1282, 64), "head.out.bias": (1282,)}, "window of 1280 samples; here they are 100 and 1024"),
    ({"head.out.weight": None}, "not a whole Vocos"),
    ({"backbone.norm.bias": np.nan}, "backbone.norm.bias holds values that are not finite"),
    ({"head.istft.window": np.hamming(1025)[:-1]}, "head.istft.window is not the Hann window"),
    ({"feature_extractor.mel_spec.mel_scale.fb": (513, 80)}, r"mel_scale.fb has shape \(513, 80\); the mel here has \(513, 100\)"),
    ({"feature_extractor.encodec.x": 1}, "Vocos for EnCodec tokens, expected Vocos"),
])  # fmt: skip
def test_what_does_not_fit_is_named(golden, tmp_path, change, words):
    state = load_file(golden / "vocos_tiny.safetensors")
    for key, value in change.items():
        if value is None:
            del state[key]
        else:
            made = np.full(state[key].shape, value) if value is np.nan else value
            state[key] = np.asarray(made if isinstance(made, np.ndarray) else np.ones(made), np.float32)
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=words):
        checkpoint.load(tmp_path / "x.safetensors")


def test_mels_that_cannot_be_sound(params):
    nan = np.full((9, 100), np.nan)
    for bad, words in ((np.zeros((5, 80)), "shape"), (np.zeros((1, 100)), "at least 2 frames"), (nan, "not finite")):
        with pytest.raises(InputError, match=words):
            decode(params, bad)
