"""LivePortrait's files: what is folded, and one line for what does not fit."""
import numpy as np
import pytest
from safetensors.numpy import save_file

from jamflow_jax.errors import InputError
from jamflow_jax.face.stitching import INPUTS, WIDTHS
from jamflow_jax.torch_io import liveportrait

rng = np.random.default_rng(0)


@pytest.fixture
def state():
    """The stitching file's tensors, with the prefix of the release."""
    parts = {"stitching": "retarget_shoulder", "lip": "retarget_mouth", "eye": "retarget_eye"}
    made = {}
    for name, prefix in parts.items():
        before = INPUTS[name]
        for i, width in enumerate(WIDTHS[name]):
            made[f"{prefix}/module.mlp.{2 * i}.weight"] = rng.normal(size=(width, before)).astype(np.float32)
            made[f"{prefix}/module.mlp.{2 * i}.bias"] = rng.normal(size=(width,)).astype(np.float32)
            before = width
    return made


def convert(state, network="stitching"):
    return liveportrait.convert(network, {key: value.shape for key, value in state.items()}, state.__getitem__)


def test_linear_layers_turn(state):
    params = convert(state)
    np.testing.assert_array_equal(params["lip"]["linear_1"]["kernel"], state["retarget_mouth/module.mlp.2.weight"].T)


@pytest.mark.parametrize("change, says", [
    (lambda s: s.pop("retarget_eye/module.mlp.4.bias"), "retarget_eye/mlp.4.bias is missing"),
    (lambda s: s.update({"retarget_eye/module.mlp.12.bias": np.zeros(3)}), "retarget_eye/mlp.12.bias is left over"),
    (lambda s: s.update({"retarget_mouth/module.mlp.0.bias": np.zeros(3)}), r"mouth/mlp.0.bias has shape \(3,\), not \(128,\)"),
    (lambda s: s["retarget_mouth/module.mlp.0.bias"].fill(np.nan), "mlp.0.bias holds values that are not finite"),
])  # fmt: skip
def test_what_does_not_fit_is_named(state, change, says):
    change(state)
    with pytest.raises(InputError, match=says) as error:
        convert(state)
    assert "\n" not in str(error.value)


def test_another_network_is_recognised(state):
    with pytest.raises(InputError, match=r"holds the stitching network \(stitching_retargeting_module.pth\)"):
        convert(state, "motion")


def test_batch_norms_are_folded():
    gamma, beta, mean = rng.normal(size=(3, 4))
    variance = rng.uniform(0.5, 2, 4)
    tensors = {"c.weight": rng.normal(size=(4, 3, 1, 1)), "c.bias": rng.normal(size=4), "n.weight": gamma, "n.bias": beta,
               "n.running_mean": mean, "n.running_var": variance}  # fmt: skip
    folded = liveportrait._turn(liveportrait.Row("conv", ("c",), ("c",), "n"), tensors)
    x = rng.normal(size=3)
    plain = tensors["c.weight"][:, :, 0, 0] @ x + tensors["c.bias"]
    expected = (plain - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    np.testing.assert_allclose(x @ folded["kernel"][0, 0] + folded["bias"], expected, atol=1e-12)


def test_missing_files_are_all_named(tmp_path):
    (tmp_path / "motion_extractor.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="base_models/appearance_feature_extractor.pth, base_models/warping_module.pth") as error:
        liveportrait.load(tmp_path)
    assert "motion_extractor" not in str(error.value) and "docs/faces.md" in str(error.value)


def test_a_safetensors_file_is_read(state, tmp_path):
    (tmp_path / "retargeting_models").mkdir()
    save_file(state, tmp_path / "retargeting_models/stitching_retargeting_module.safetensors")
    params = liveportrait.load(tmp_path, ("stitching",))["stitching"]
    np.testing.assert_array_equal(params["eye"]["linear_0"]["bias"], state["retarget_eye/module.mlp.0.bias"])


def test_the_released_form_is_read(state, tmp_path):
    torch = pytest.importorskip("torch")
    nested: dict = {}
    for key, value in state.items():
        part, name = key.split("/")
        nested.setdefault(part, {})[name] = torch.tensor(value)
    torch.save(nested, tmp_path / "stitching_retargeting_module.pth")
    params = liveportrait.load(tmp_path, ("stitching",))["stitching"]
    np.testing.assert_array_equal(params["eye"]["linear_0"]["bias"], state["retarget_eye/module.mlp.0.bias"])
