"""Sampler and loss against what F5-TTS's own code computed (float32, CPU, its noise injected)."""
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.flow.draws import Draw
from jamflow_jax.flow.generate import Request, SampleConfig, generate
from jamflow_jax.flow.objective import counts, loss_sums, mean_losses
from jamflow_jax.flow.states import ABSENT, GENERATED
from jamflow_jax.model import AudioDiT, JamFlowConfig, MotionConfig
from jamflow_jax.torch_io import f5tts


@pytest.fixture(scope="module", params=("v1", "v0"))
def case(request, golden):
    f5_config = json.loads((golden / f"f5tts_{request.param}_tiny_config.json").read_text())
    audio, params = f5tts.load(golden / "f5tts_tiny.safetensors", f5_config)
    trunk = {f.name: getattr(audio, f.name) for f in dataclasses.fields(MotionConfig) if hasattr(audio, f.name)}
    return JamFlowConfig(audio=audio, motion=MotionConfig(**trunk)), params, np.load(golden / f"f5tts_{request.param}_tiny_io.npz")


@pytest.mark.parametrize("name, steps, grid", (("euler8", 8, "sway"), ("epss7", 7, "epss")))
def test_sampler_agrees(case, name, steps, grid):
    """Reference of 38 frames, guidance 2, sway -1, Euler."""
    config, params, io = case
    request = Request(length=96, want_motion=False, text_ids=io["text"][0], mel=io["cond"][0, :38])
    sample = SampleConfig(steps=steps, grid=grid, guidance=2.0)
    (result,) = generate(config, {"audio": params}, [request], sample, noise=[{"audio": io[f"sample_{name}_noise"][0]}])
    np.testing.assert_allclose(result.mel, io[f"sample_{name}_out"][0], atol=1e-3, rtol=0)
    np.testing.assert_array_equal(result.mel[:38], io["cond"][0, :38])


def test_loss_agrees(case):
    config, params, io = case
    ones, none = np.ones(2, bool), np.zeros(2, bool)
    x1 = jnp.asarray(io["loss_x1"])
    batch = {
        "mel": x1, "mouth": jnp.zeros((2, 26, 12)), "rest": jnp.zeros((2, 26, 51)), "text": jnp.asarray(io["text"], jnp.int32),
        "length": jnp.array([96, 96]), "has_audio": ones, "has_motion": none, "has_text": ones, "has_rest": none,
        "weight": jnp.ones(2),
    }
    drawn = Draw(
        audio_state_B=jnp.full(2, GENERATED), motion_state_B=jnp.full(2, ABSENT), audio_span_BT=jnp.asarray(io["loss_span"]),
        motion_span_BM=jnp.zeros((2, 26), bool), audio_time_B=jnp.asarray(io["time"]), motion_time_B=jnp.zeros(2),
        audio_noise_BTF=jnp.asarray(io["loss_x0"]), motion_noise_BMD=jnp.zeros((2, 26, 12)), drop_audio_B=none, drop_motion_B=none,
        drop_text_B=none, text_absent_B=none, drop_rest_B=none)

    def model_apply(variables, audio, motion, length_B, joint_audio_B, joint_motion_B, dropout_keys_B):
        inputs = audio.x_BTF, audio.context_BTF, audio.text_BN, audio.time_B, length_B
        return AudioDiT(config.audio).apply(variables, *inputs, drop_text=audio.drop_text_B), None

    losses = jax.jit(lambda p: mean_losses(loss_sums(model_apply, p, drawn, batch), counts(drawn, batch)))(params)
    np.testing.assert_allclose(losses["audio"], io["loss_value"], rtol=1e-5)
