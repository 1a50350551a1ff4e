"""Audio-DiT against what F5-TTS's own code computed, stage by stage (float32, CPU)."""
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.model import AudioDiT
from jamflow_jax.model.blocks import cut
from jamflow_jax.torch_io import f5tts

VERSIONS = ("v1", "v0")
TOLERANCE = 2e-4


@pytest.fixture(scope="module", params=VERSIONS)
def case(request, golden):
    f5_config = json.loads((golden / f"f5tts_{request.param}_tiny_config.json").read_text())
    config, params = f5tts.load(golden / "f5tts_tiny.safetensors", f5_config)
    io = np.load(golden / f"f5tts_{request.param}_tiny_io.npz")
    return AudioDiT(config), {"params": params}, {key: io[key] for key in io}


def rows(io, row):
    return tuple(jnp.asarray(io[key][row:row + 1]) for key in ("x", "cond", "text", "time"))


@partial(jax.jit, static_argnums=0)
def apply(model, variables, *args, **kwargs):
    return model.apply(variables, *args, **kwargs)


def close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), theirs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("row", (0, 1))
def test_every_stage_agrees(case, row):
    model, variables, io = case
    x, cond, text, time = rows(io, row)

    def stages(module):
        hidden, emb, table, valid = module.embed(x, cond, text, time)
        texts = module.text(text, 96), module.text(text, 96, None, True)
        first, _ = cut(module.stack(emb), [1, module.config.depth - 1])
        return emb, *texts, hidden, module.advance(hidden, emb, table, valid, stack=first)

    emb, text_embed, dropped, hidden, block0 = jax.jit(lambda v: model.apply(v, method=stages))(variables)
    close(emb, io["time_embed"][row:row + 1])
    close(text_embed, io[f"text_embed_row{row}"])
    close(dropped, io[f"text_embed_dropped_row{row}"])
    close(hidden, io[f"input_embed_row{row}"])
    close(block0, io[f"block0_row{row}"])


@pytest.mark.parametrize("row", (0, 1))
def test_velocities_agree_with_and_without_conditions(case, row):
    model, variables, io = case
    inputs = rows(io, row)
    close(apply(model, variables, *inputs), io[f"velocity_row{row}"])
    close(apply(model, variables, *inputs, drop_audio=True), io[f"velocity_drop_audio_row{row}"])
    close(apply(model, variables, *inputs, drop_audio=True, drop_text=True), io[f"velocity_uncond_row{row}"])


def test_a_batch_with_lengths_agrees(case):
    model, variables, io = case
    inputs = tuple(jnp.asarray(io[key]) for key in ("x", "cond", "text", "time"))
    close(apply(model, variables, *inputs, lengths_B=jnp.asarray(io["lens"])), io["velocity_batched_masked"])


def test_drops_per_example_equal_drops_of_the_whole_batch(case):
    model, variables, io = case
    inputs = tuple(jnp.asarray(io[key]) for key in ("x", "cond", "text", "time"))
    out = apply(model, variables, *inputs, drop_audio=jnp.array([True, False]), drop_text=jnp.array([True, False]))
    close(out[:1], io["velocity_uncond_row0"])
    close(out[1:], io["velocity_row1"])


@pytest.mark.parametrize("length", (1, 40, 95))
def test_padded_equals_alone(case, length):
    model, variables, io = case
    x, cond, text, time = (jnp.asarray(io[key]) for key in ("x", "cond", "text", "time"))
    alone = apply(model, variables, x[:1, :length], cond[:1, :length], text[:1], time[:1])
    batch = apply(model, variables, x, cond, text, time, lengths_B=jnp.array([length, 96]))
    close(batch[:1, :length], alone)
    assert not np.any(np.asarray(batch[0, length:]))


def test_missing_left_over_and_misshapen_tensors_are_named_together(golden):
    config = json.loads((golden / "f5tts_v1_tiny_config.json").read_text())
    with pytest.raises(InputError, match="transformer_blocks.2.*missing"):
        f5tts.load(golden / "f5tts_tiny.safetensors", config | {"depth": 3})
    with pytest.raises(InputError, match="transformer_blocks.1.*left over"):
        f5tts.load(golden / "f5tts_tiny.safetensors", config | {"depth": 1})
    with pytest.raises(InputError, match=r"text_embed.text_embed.weight has shape \(61, 64\)"):
        f5tts.load(golden / "f5tts_tiny.safetensors", config | {"text_num_embeds": 70})
    with pytest.raises(ConfigError, match="dimm"):
        f5tts.load(golden / "f5tts_tiny.safetensors", config | {"dimm": 3})


def test_files_that_are_no_checkpoint_are_refused(golden, tmp_path):
    config = json.loads((golden / "f5tts_v1_tiny_config.json").read_text())
    with pytest.raises(InputError, match="no such checkpoint"):
        f5tts.load(tmp_path / "none.safetensors", config)
    (tmp_path / "cut.safetensors").write_bytes((golden / "f5tts_tiny.safetensors").read_bytes()[:5000])
    with pytest.raises(InputError, match="not a readable safetensors"):
        f5tts.load(tmp_path / "cut.safetensors", config)
