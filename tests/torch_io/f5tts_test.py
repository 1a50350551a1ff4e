"""F5-TTS checkpoints of every layout and size; what does not fit is named, all of it in one line."""
import json

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from safetensors.numpy import load_file, save_file

from jamflow_jax.errors import InputError
from jamflow_jax.model.jamflow import init_audio
from jamflow_jax.torch_io import f5tts
from jamflow_jax.torch_io.names import audio_names, torch_shape

TINY = {"dim": 32, "depth": 3, "heads": 2, "dim_head": 8, "ff_mult": 3, "text_dim": 16, "conv_layers": 1, "text_num_embeds": 9}


def random_state(config, seed=0):
    """A state dict with random values, and the table's rows that its keys belong to."""
    expected = traverse_util.flatten_dict(nn.unbox(jax.eval_shape(lambda key: init_audio(config, key), jax.random.key(0))))
    rng, state = np.random.default_rng(seed), {}
    for name in audio_names(config):
        shape = expected[name.path].shape
        for key in (key.format(i=i) for i in range(shape[0] if name.stacked else 1) for key in name.keys):
            state[key] = rng.standard_normal(torch_shape(name.kind, shape[1:] if name.stacked else shape), np.float32)
    return state


@pytest.fixture(scope="module")
def state():
    return random_state(f5tts.audio_config(TINY))


def saved(state, path, prefix=""):
    save_file({prefix + key: value for key, value in state.items()}, path)
    return path


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("arch", [{}, {"qk_norm": "rms_norm", "long_skip_connection": True, "pe_attn_head": 1, "depth": 1}])
def test_each_tensor_lands_turned_where_it_belongs(tmp_path, arch):
    state = random_state(f5tts.audio_config(TINY | arch))
    config, params = f5tts.load(saved(state, tmp_path / "x.safetensors"), TINY | arch)
    assert (config.rope_heads, config.long_skip) == (arch.get("pe_attn_head"), "long_skip_connection" in arch)
    layers, last = params["stack"]["layers"], config.depth - 1
    here = f"transformer_blocks.{last}"
    for j, part in enumerate("qkv"):
        turned = state[f"{here}.attn.to_{part}.weight"].T.reshape(32, 2, 8)
        np.testing.assert_array_equal(layers["qkv"]["kernel"][last][..., 8 * j : 8 * j + 8], turned)
        bias = layers["qkv"]["bias"][last][:, 8 * j : 8 * j + 8]
        np.testing.assert_array_equal(bias.ravel(), state[f"{here}.attn.to_{part}.bias"])
    np.testing.assert_array_equal(layers["ff_in"]["kernel"][last], state[f"{here}.ff.ff.0.0.weight"].T)
    convolution = state["input_embed.conv_pos_embed.conv1d.2.weight"]
    np.testing.assert_array_equal(params["input"]["conv_1"]["kernel"][3, 1, 5], convolution[5, 1, 3])
    np.testing.assert_array_equal(params["text"]["block_0"]["grn_beta"], state["text_embed.text_blocks.0.grn.beta"][0, 0])
    if arch:
        np.testing.assert_array_equal(layers["qkv"]["k_norm"]["scale"][0], state[f"{here}.attn.k_norm.weight"])
        np.testing.assert_array_equal(params["skip"]["kernel"], state["long_skip_connection.weight"].T)


@pytest.mark.parametrize("prefix", ["", "transformer.", "ema_model.transformer.", "online_model.transformer."])
def test_prefixes_and_tables_do_not_matter(tmp_path, state, prefix):
    plain = f5tts.load(saved(state, tmp_path / "plain.safetensors"), TINY)[1]
    extra = {"rotary_embed.inv_freq": np.ones(4, np.float32)}
    path = saved(state | extra, tmp_path / "x.safetensors", prefix)
    whole = prefix.removesuffix("transformer.")
    more = {f"{whole}mel_spec.mel_stft.mel_scale.fb": np.ones(3, np.float32), "step": np.ones(1, np.int64)}
    save_file(load_file(path) | more | {"initted": np.ones(1, bool)}, path)
    equal(f5tts.load(path, TINY)[1], plain)
    contents = f5tts.contents(path)
    assert (contents.averaged, len(contents.tables)) == (prefix.startswith("ema"), 4) and not contents.others


def test_a_trainers_file_has_both_sets(tmp_path, state):
    torch = pytest.importorskip("torch")
    tensors = {key: torch.from_numpy(value) for key, value in state.items()}
    average = {f"ema_model.transformer.{key}": value for key, value in tensors.items()}
    average |= {"initted": torch.tensor(True), "step": torch.tensor(7)}
    average["ema_model.mel_spec.mel_stft.spectrogram.window"] = torch.ones(2)
    raw = {f"transformer.{key}": value + 1 for key, value in tensors.items()}
    content = {"model_state_dict": raw, "ema_model_state_dict": average, "optimizer_state_dict": {"state": {}}, "update": 9}
    torch.save(content, tmp_path / "model_last.pt")
    plain = f5tts.load(saved(state, tmp_path / "plain.safetensors"), TINY)[1]
    equal(f5tts.load(tmp_path / "model_last.pt", TINY)[1], plain)
    equal(f5tts.load(tmp_path / "model_last.pt", TINY, raw=True)[1], jax.tree.map(lambda x: x + np.float32(1), plain))
    contents = f5tts.contents(tmp_path / "model_last.pt")
    assert len(contents.others) == len(contents.keys) == len(state) and contents.averaged
    torch.save({"ema_model_state_dict": average}, tmp_path / "pruned.pt")
    with pytest.raises(InputError, match="pruned.pt: holds only the average"):
        f5tts.load(tmp_path / "pruned.pt", TINY, raw=True)


def test_everything_wrong_is_one_line_that_names_it_all(tmp_path, state):
    wrong = dict(state)
    for i in (0, 2):
        del wrong[f"transformer_blocks.{i}.attn.to_q.bias"]
    wrong["proj_out.bias"] = np.ones(7, np.float32)
    wrong["stray"] = np.ones(1, np.float32)
    path = saved(wrong, tmp_path / "wrong.safetensors", "ema_model.transformer.")
    save_file(load_file(path) | {"discriminator.weight": np.ones(1, np.float32)}, path)
    with pytest.raises(InputError) as error:
        f5tts.load(path, TINY)
    said = str(error.value)
    for words in ("transformer_blocks.{0,2}.attn.to_q.bias is missing", "proj_out.bias has shape (7,), not (100,)",
                  "stray is left over", "discriminator.weight (without ema_model.transformer.) is left over",
                  "the file has dim 32, depth 3, ff_mult 3, text_dim 16, conv_layers 1, text_num_embeds 9"):  # fmt: skip
        assert words in said
    assert "\n" not in said
    with pytest.raises(InputError, match=r"transformer_blocks\.\{3-4\}\.ff\.ff\.2\.bias is missing"):
        f5tts.load(saved(state, path), TINY | {"depth": 5})


def test_values_that_are_not_finite_are_named(tmp_path, state):
    wrong = {key: value.copy() for key, value in state.items()}
    wrong["transformer_blocks.1.ff.ff.2.bias"][3] = np.nan
    wrong["time_embed.time_mlp.0.weight"][0, 0] = np.inf
    names = r"time_embed.time_mlp.0.weight holds values that are not finite; transformer_blocks.1.ff.ff.2.bias holds"
    with pytest.raises(InputError, match=names):
        f5tts.load(saved(wrong, tmp_path / "nan.safetensors"), TINY)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "int8", "int64", "complex64", "sparse_coo"])
def test_what_is_no_floating_point_tensor_is_named(tmp_path, state, dtype):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    key = "transformer_blocks.1.ff.ff.2.bias"
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    tensors[key] = tensors[key].to_sparse() if dtype == "sparse_coo" else tensors[key].to(getattr(torch, dtype))
    torch.save(tensors, tmp_path / "x.pt")
    paths = [tmp_path / "x.pt"]
    if dtype != "sparse_coo":
        save_torch(tensors, tmp_path / "x.safetensors")
        paths.append(tmp_path / "x.safetensors")
    for path in paths:
        words = rf"{key} is {dtype.removesuffix('fn')}\w*( float32)?, not a floating-point tensor of float16, bfloat16"
        with pytest.raises(InputError, match=words):
            f5tts.load(path, TINY)


@pytest.mark.parametrize("keys, words", [
    (["backbone.embed.weight", "head.out.weight"], "a checkpoint of Vocos, expected F5-TTS's DiT"),
    (["ema_model.transformer.layers.0.2.to_q.weight", "ema_model.transformer.proj_out.weight"], "E2-TTS"),
    (["transformer.transformer_blocks.0.attn_norm_x.linear.weight"], "MMDiT"),
    (["down_blocks.0.resnets.0.conv1.weight"], r"no architecture known here \(it holds down_blocks.0"),
])  # fmt: skip
def test_other_architectures_are_named(tmp_path, keys, words):
    with pytest.raises(InputError, match=words):
        f5tts.load(saved(dict.fromkeys(keys, np.ones((2, 2), np.float32)), tmp_path / "x.safetensors"), TINY)


def test_the_vocabularys_size_may_be_left_to_the_file(golden):
    arch = json.loads((golden / "f5tts_v1_tiny_config.json").read_text())
    config, params = f5tts.load(golden / "f5tts_tiny.safetensors", {k: v for k, v in arch.items() if k != "text_num_embeds"})
    assert config == f5tts.audio_config(arch) and params["text"]["table"].shape == (61, 64)


def test_new_rows_depend_on_their_token_alone():
    old = np.random.default_rng(0).normal(3, 0.1, (200, 64)).astype(np.float32)
    both, one = f5tts.extend_vocabulary(old, ["é", "ß"]), f5tts.extend_vocabulary(old, ["ß"])
    assert both.shape == (202, 64) and both.dtype == np.float32
    np.testing.assert_array_equal(both[:200], old)
    np.testing.assert_array_equal(both[201], one[200])
    assert abs(both[200:] - both[200]).max() > 0.1
    assert abs(both[200:].mean() - 3) < 0.05 and 0.07 < both[200:].std() < 0.13
