"""Sampling and loss against F5-TTS's own code: known prefix, guidance 2, sway -1; float32, padded from 96 to 120 frames."""
import json

import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.flow import objective, states
from jamflow_jax.flow.generate import Request, SampleConfig, generate
from jamflow_jax.model import JamFlow, JamFlowConfig, MotionConfig
from jamflow_jax.torch_io import f5tts


@pytest.fixture(scope="module", params=["v1", "v0"])
def case(request, golden):
    settings = json.loads((golden / f"f5tts_{request.param}_tiny_config.json").read_text())
    audio, params = f5tts.load(golden / "f5tts_tiny.safetensors", settings)
    motion = MotionConfig(width=audio.width, depth=audio.depth, heads=audio.heads, head_dim=audio.head_dim)
    io = np.load(golden / f"f5tts_{request.param}_tiny_io.npz")
    return JamFlowConfig(audio=audio, motion=motion), {"audio": params}, io


@pytest.mark.parametrize(("name", "steps", "grid"), [("euler8", 8, "sway"), ("epss7", 7, "epss")])
def test_samples_agree(case, name, steps, grid):
    config, params, io = case
    request = Request(96, want_motion=False, text_ids=io["text"][0], mel=io["cond"][0, :38])
    noise = [{"audio": io[f"sample_{name}_noise"][0]}]
    result = generate(config, params, [request], SampleConfig(steps=steps, grid=grid), noise)[0]
    theirs = io[f"sample_{name}_out"][0]
    np.testing.assert_array_equal(result.mel[:38], theirs[:38])
    np.testing.assert_allclose(result.mel, theirs, atol=2e-4 * max(1, np.abs(theirs).max()))


def test_loss_agrees(case):
    """Their draws, our loss: mean over all hidden elements of both rows."""
    config, params, io = case
    nothing = np.zeros(2, bool)
    batch = {
        "mel": io["loss_x1"], "mouth": np.zeros((2, 26, 12), np.float32), "rest": np.zeros((2, 26, 51), np.float32),
        "text": io["text"].astype(np.int32), "length": np.full(2, 96, np.int32), "weight": np.ones(2, np.float32),
        "has_text": ~nothing, "has_rest": nothing,
    }
    drawn = objective.Draw(
        audio_state_B=jnp.full(2, states.GENERATED), motion_state_B=jnp.full(2, states.ABSENT),
        audio_span_BT=io["loss_span"], motion_span_BM=np.zeros((2, 26), bool),
        audio_time_B=io["time"], motion_time_B=io["time"],
        audio_noise_BTF=io["loss_x0"], motion_noise_BMD=np.zeros((2, 26, 12), np.float32),
        drop_audio_B=nothing, drop_motion_B=nothing, drop_text_B=nothing, text_absent_B=nothing, drop_rest_B=nothing,
    )

    def audio_only(variables, audio, motion, **others):
        return JamFlow(config).apply(variables, audio, None, **others)

    sums = objective.loss_sums(audio_only, params, drawn, batch)
    losses = objective.mean_losses(sums, objective.counts(drawn, batch))
    np.testing.assert_allclose(losses["audio"], io["loss_value"], rtol=1e-5)
    assert losses["motion"] == 0
