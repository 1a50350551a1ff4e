"""The five networks against the original's outputs, at full size: every slice within 1e-3 of its tensor's standard deviation."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.face.appearance import Appearance
from jamflow_jax.face.generator import Generator
from jamflow_jax.face.motion import HEADS, Motion
from jamflow_jax.face.stitching import INPUTS, KeypointMlp
from jamflow_jax.face.warping import Warping

BOUND = 1e-3


def apply(module, params, *inputs):
    return jax.device_get(jax.jit(lambda p, *x: module.apply({"params": p}, *x))(params, *inputs))


def assert_near(ours, golden, std):
    assert ours.shape == golden.shape
    assert np.abs(ours - golden).max() / std < BOUND


def assert_moments(ours, io, name):
    mean, std = float(io[f"{name}_mean"]), float(io[f"{name}_std"])
    assert abs(float(ours.mean()) - mean) < BOUND * std
    assert abs(float(ours.std()) - std) < BOUND * std


def test_motion(params, io):
    ours = apply(Motion(), params("motion"), np.moveaxis(io["image"], 1, -1))
    for head in HEADS:
        golden = io[f"M_{head}"]
        assert_near(ours[head], golden, max(golden.std(), 0.1))


def test_appearance(params, io):
    ours = apply(Appearance(), params("appearance"), np.moveaxis(io["image"], 1, -1))
    assert_moments(ours, io, "F")
    assert_near(np.moveaxis(ours, -1, 1)[:, ::4, ::4, ::8, ::8], io["F_slice"], io["F_std"])


def test_warping(params, io):
    volume = np.random.default_rng(int(io["feature_seed"])).standard_normal((1, 32, 16, 64, 64)).astype(np.float32)
    ours = apply(Warping(), params("warping"), np.moveaxis(volume, 1, -1), io["kp_source"], io["kp_driving"])
    feature, occlusion = np.moveaxis(ours.feature, -1, 1), np.moveaxis(ours.occlusion, -1, 1)
    assert_near(feature[:, ::8, ::4, ::4], io["W_out_slice"], io["W_out_std"])
    assert_near(occlusion[:, :, ::2, ::2], io["W_occlusion_map"], io["W_occlusion_map_std"])
    assert_near(ours.deformation[:, ::4, ::8, ::8], io["W_deformation_slice"], io["W_deformation_std"])
    assert_moments(feature, io, "W_out")
    assert_moments(ours.deformation, io, "W_deformation")


def test_generator(params, io):
    feature = np.random.default_rng(int(io["G_input_seed"])).standard_normal((1, 256, 64, 64)).astype(np.float32)
    ours = apply(Generator(), params("generator"), np.moveaxis(feature, 1, -1))
    assert ours.shape == (1, 512, 512, 3)
    assert_near(np.moveaxis(ours, -1, 1)[:, :, ::4, ::4], io["G_slice"], io["G_std"])
    assert_moments(ours, io, "G")


@pytest.mark.parametrize("which", INPUTS)
def test_stitching(params, io, which):
    ours = apply(KeypointMlp(which), params("stitching")[which], jnp.asarray(io[f"S_{which}_in"]))
    assert_near(ours, io[f"S_{which}_out"], io[f"S_{which}_out"].std())
