"""F5-TTS's own configs: names, YAML, JSON; what cannot be loaded is refused by field."""
import pytest

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.torch_io import f5_config, f5tts

YAML = """
model:
  name: F5TTS_v1_Base
  tokenizer: char
  backbone: DiT
  arch: {dim: 1024, depth: 22, heads: 16, ff_mult: 2, text_dim: 512, text_mask_padding: True, qk_norm: null, conv_layers: 4,
         pe_attn_head: null, attn_backend: torch, attn_mask_enabled: False, checkpoint_activations: False}
  mel_spec: {target_sample_rate: 24000, n_mel_channels: 100, hop_length: 256, win_length: 1024, n_fft: 1024, mel_spec_type: vocos}
"""


def test_names_and_yaml_mean_the_same(tmp_path):
    (tmp_path / "F5.yaml").write_text(YAML)
    arch, kind = f5_config.read(str(tmp_path / "F5.yaml"))
    assert kind == "char" and f5tts.audio_config(arch) == f5tts.audio_config(f5_config.read("v1-base")[0])
    assert f5_config.read("F5TTS_Base") == f5_config.read("v0-base")
    small = f5tts.audio_config(f5_config.read("small")[0])
    assert (small.width, small.depth, small.heads, small.rope_heads, small.text_mask_padding) == (768, 18, 12, 1, False)


@pytest.mark.parametrize("old, new, error, words", [
    ("backbone: DiT", "backbone: UNetT", ConfigError, "model.backbone is UNetT"),
    ("vocos}", "bigvgan}", ConfigError, "mel_spec_type is bigvgan; the mel here has vocos"),
    ("tokenizer: char", "tokenizer: bpe", ConfigError, "model.tokenizer 'bpe'"),
    ("model:", "model: [", InputError, "not YAML"),
])  # fmt: skip
def test_what_cannot_be_loaded(tmp_path, old, new, error, words):
    (tmp_path / "F5.yaml").write_text(YAML.replace(old, new))
    with pytest.raises(error, match=words):
        f5_config.read(str(tmp_path / "F5.yaml"))


def test_text_without_layers_is_computed_otherwise_there():
    with pytest.raises(ConfigError, match=r"F5-TTS config: text_layers \(F5-TTS: conv_layers\) is 0; .* at least 1"):
        f5tts.audio_config({"conv_layers": 0})


def test_upsampled_text_is_refused_by_name():
    assert f5tts.audio_config({"text_embedding_average_upsampling": False}) == f5tts.audio_config({})
    with pytest.raises(ConfigError, match="text_embedding_average_upsampling is true"):
        f5tts.audio_config({"text_embedding_average_upsampling": True})


def test_a_name_nobody_knows(tmp_path):
    with pytest.raises(ConfigError, match="v2-base: neither a .yaml or .json file nor one of v1-base"):
        f5_config.read("v2-base")
    with pytest.raises(InputError, match="cannot read the config"):
        f5_config.read(str(tmp_path / "none.yaml"))
