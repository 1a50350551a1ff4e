"""Where parameters start, and the dimensions that follow the data."""
import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import linen as nn

from jamflow_jax.config import build, to_dict
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.model import JamFlowConfig, init_motion
from jamflow_jax.motion import space as spaces
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.parallel.mesh import make_mesh
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.torch_io import f5tts
from jamflow_jax.train import bundle, origins, stages, state, workdir
from jamflow_jax.train.checkpoint import Checkpoints
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.origins import Origin

TINY_MOTION = {"width": 32, "depth": 2, "heads": 2, "head_dim": 16, "mouth_dim": 3, "rest_dim": 2}
DIMS = {"mouth_dim": 5, "rest_dim": 4, "text_vocab": 9, "speech_dim": 0}
LIPS, ABC = spaces.get("lips"), Tokenizer.from_texts(["abc"])
STATISTICS = Statistics.from_arrays([np.random.default_rng(0).normal(size=(9, 2))])


def test_dimensions_follow_the_data():
    model, said = stages.fit_to_data(JamFlowConfig(), **DIMS)
    assert (model.motion.mouth_dim, model.motion.rest_dim, model.audio.text_vocab) == (5, 4, 9)
    assert "model.motion.mouth_dim = 5, from the data set" in said
    assert stages.fit_to_data(model, **DIMS) == (model, [])
    with pytest.raises(ConfigError, match=r"config\.model\.motion\.mouth_dim is 5, the data set has 6"):
        stages.fit_to_data(model, **{**DIMS, "mouth_dim": 6})


def save(directory, config: RunConfig):
    """A run that was saved before its first step."""
    workdir.write(directory, config, LIPS, STATISTICS, ABC)
    mesh = make_mesh(devices=jax.devices()[:1])
    made = state.initialise(config, mesh)
    checkpoints = Checkpoints(directory / "checkpoints")
    checkpoints.save(0, made, {"config": {}, "fingerprint": "", "pending": []})
    checkpoints.close()
    return made


def test_stage_one_hands_over_all_but_the_speech_columns(tiny, tmp_path):
    made = save(tmp_path, tiny(stage=1, model={"motion": {**TINY_MOTION, "speech_dim": 8}}))
    config = tiny(init={"motion": str(tmp_path)})
    given = stages.start(config, LIPS, ABC, STATISTICS).params["motion"]
    expected = nn.unbox(init_motion(config.model.motion, jax.random.key(1)))
    assert jax.tree.map(np.shape, given) == jax.tree.map(np.shape, expected)
    kernel = np.asarray(made.params["motion"]["input"]["proj"]["kernel"])
    np.testing.assert_array_equal(given["input"]["proj"]["kernel"], kernel[:8])
    begun = state.initialise(config, make_mesh(devices=jax.devices()[:1]), {"motion": given})
    np.testing.assert_array_equal(begun.ema["motion"]["input"]["proj"]["kernel"], kernel[:8])


def test_audio_starts_from_an_f5_tts_checkpoint(tiny, golden):
    f5_config, file = json.loads((golden / "f5tts_v1_tiny_config.json").read_text()), golden / "f5tts_tiny.safetensors"
    audio, params = f5tts.load(file, f5_config)
    trunk = {"width": 128, "depth": 2, "heads": 2, "head_dim": 64}
    sizes = {"text_vocab": 60, "text_width": 64, "text_layers": 2}
    config = tiny(model={"audio": {**trunk, **sizes, "dropout": 0.1}, "motion": {**trunk, "mouth_dim": 2, "rest_dim": 0}},
                  init={"audio": str(file)})  # fmt: skip
    given = stages.start(config, LIPS, ABC, STATISTICS).params
    assert given.keys() == {"audio"} and dataclasses.replace(config.model.audio, dropout=0.0) == audio
    begun = state.initialise(config, make_mesh(devices=jax.devices()[:1]), given)
    jax.tree.map(np.testing.assert_array_equal, begun.params["audio"], params)
    with pytest.raises(InputError, match=r"text_embed.text_embed.weight has shape \(61, 64\)"):
        stages.start(tiny(model={"audio": {**trunk, **sizes, "text_vocab": 61}, "motion": trunk},
                                    init={"audio": str(file)}), LIPS, ABC, STATISTICS)  # fmt: skip


def test_a_start_must_mean_the_same_not_only_have_the_same_shape(tiny, tmp_path):
    save(tmp_path, tiny())
    turned = dataclasses.replace(LIPS, mouth=(1, 0))
    shapes = spaces.get("blendshapes", names=["jawOpen", "mouthPucker"])
    xyz, other = Tokenizer.from_texts(["xyz"]), Tokenizer("pinyin", ABC.vocab)

    def start(space, tokenizer, **init):
        return stages.start(tiny(init={name: str(tmp_path) for name in init}), space, tokenizer, STATISTICS).params

    for field in ("run", "motion"):
        words = rf"config\.init\.{field}: .* mouth of lips \(2: opening, width\) there, of "
        with pytest.raises(ConfigError, match=words + r"lips \(2: width, opening\) here"):
            start(turned, ABC, **{field: 1})
        with pytest.raises(ConfigError, match=words + r"blendshapes \(2: jawOpen, mouthPucker\) here"):
            start(shapes, ABC, **{field: 1})
    for field in ("run", "audio"):
        words = rf"config\.init\.{field}: .* with 4 char tokens, the data set has 4 "
        advice = rf"char .*id 1 is 'a' there, 'x' here.*--tokenizer char:{tmp_path}/vocab\.txt"
        with pytest.raises(ConfigError, match=words + advice):
            start(LIPS, xyz, **{field: 1})
        with pytest.raises(ConfigError, match=words + "pinyin"):
            start(LIPS, other, **{field: 1})
    assert start(LIPS, ABC, run=1).keys() == {"audio", "motion"}
    assert start(LIPS, xyz, motion=1).keys() == {"motion"} and start(turned, ABC, audio=1).keys() == {"audio"}  # not read there


def table(config, statistics=STATISTICS):
    return stages.start(config, LIPS, ABC, statistics).table(config)


def test_the_table_says_what_came_from_where_what_is_new_and_what_is_left(tiny, tmp_path):
    one, both = tmp_path / "one", tmp_path / "both"
    save(one, tiny(stage=1, model={"motion": {**TINY_MOTION, "speech_dim": 8}}))
    save(both, tiny())
    origins.write(both, [Origin("audio", "F5-TTS, x.pt", "CC-BY-NC-4.0")])
    rows = table(tiny(init={"motion": str(one)}))
    sizes = {stream: sum(leaf.size for leaf in jax.tree.leaves(tree)) for stream, tree in bundle.load_model(both).params.items()}
    assert [" ".join(row.split()) for row in rows] == [
        f"audio {sizes['audio']:,} new, random from seed 0", f"motion {sizes['motion']:,} {one}, step 0",
        f"unused: motion.input.proj, 8 rows that read speech 256 {one}, step 0",
    ]  # fmt: skip
    rows = table(tiny(init={"audio": str(both), "motion": str(one)}))
    assert "audio" in rows[0] and rows[0].endswith(f"{both}, step 0") and rows[-2].startswith("unused: motion.input.proj")
    assert rows[2].split()[:2] == ["unused:", "motion"] and rows[-1] == "audio: weights from F5-TTS, x.pt, licence CC-BY-NC-4.0"
    rows = table(tiny(init={"run": str(both), "motion": str(one)}))
    assert any(row.startswith("unused: motion, replaced") and row.endswith(f"{both}, step 0") for row in rows)
    assert [row.rsplit("  ", 1)[1] for row in table(tiny())] == ["new, random from seed 0"] * 2


def test_streams_that_compute_something_else_are_refused_and_choices_told(tiny, tmp_path):
    old, one = str(tmp_path / "v0"), str(tmp_path / "one")
    v0 = {**dataclasses.asdict(tiny().model.audio), "rope_heads": 1, "text_mask_padding": False}
    save(tmp_path / "v0", tiny(model={"audio": v0}))
    save(tmp_path / "one", tiny(stage=1, model={"motion": {**TINY_MOTION, "speech_dim": 8, "rope_alignment": "none"}}))
    flags = r"set --config\.model\.audio\.rope_heads=1 --config\.model\.audio\.text_mask_padding=false$"
    for field in ("audio", "run"):
        with pytest.raises(ConfigError, match=rf"config\.init\.{field}: .*v0 computes otherwise .* {flags}"):
            table(tiny(init={field: old}))
    with pytest.raises(ConfigError, match=r"config\.init\.motion: .*set --config\.model\.motion\.rope_heads=none$"):
        table(tiny(model={"motion": {**TINY_MOTION, "rope_heads": 1}}, init={"motion": one}))
    rows = table(tiny(model={"audio": v0, "windows": {"motion_audio": 1}, "joint_layers": (1,)}, init={"run": old, "motion": one}))
    assert rows[-3:] == [
        f"model.joint_layers was (0, 1) in {old}, is (1,) here", f"model.windows.motion_audio was 7/25 in {old}, is 1 here",
        f"model.motion.rope_alignment was none in {one}, is time here",
    ]  # fmt: skip


def test_motion_that_is_spread_otherwise_is_told_and_what_does_not_move_refused(tiny, tmp_path):
    save(tmp_path, tiny())
    for field in ("run", "motion"):
        config = tiny(init={field: str(tmp_path)})
        assert not any("not spread as in" in row for row in table(config))
        wider = dataclasses.replace(STATISTICS, mean=STATISTICS.mean + STATISTICS.std * [0, 0.5], std=STATISTICS.std * [4, 1])
        assert table(config, wider)[-1].endswith("differ by up to 0.5 std (width), std by a factor of up to 4 (opening)")
        still = dataclasses.replace(STATISTICS, live=np.array([True, False]))
        with pytest.raises(ConfigError, match=rf"config\.init\.{field}: .*other dimensions .*: still here: width$"):
            table(config, still)
    assert stages.start(tiny(init={"audio": str(tmp_path)}), LIPS, ABC, still).params.keys() == {"audio"}


def test_a_converted_model_lends_its_audio_and_nothing_else(tiny, tmp_path):
    full = save(tmp_path / "run", tiny())
    model = dataclasses.replace(bundle.load_model(tmp_path / "run"), origins=(Origin("audio", "F5-TTS, x", "CC0"),))
    bundle.save_model(tmp_path / "audio", dataclasses.replace(model, params={"audio": model.params["audio"]}))
    again = bundle.load_model(tmp_path / "audio")
    assert again.params.keys() == {"audio"} and again.origins == model.origins and again.config == model.config
    jax.tree.map(np.testing.assert_array_equal, again.params["audio"], full.averaged["audio"])
    (tmp_path / "audio" / bundle.VOCODER).touch()
    found = stages.start(tiny(init={"audio": str(tmp_path / "audio")}), LIPS, ABC, STATISTICS)
    assert found.params.keys() == {"audio"} and found.vocoder == tmp_path / "audio" / bundle.VOCODER
    for field in ("run", "motion"):
        with pytest.raises(ConfigError, match=rf"config\.init\.{field}: .*audio has no motion stream"):
            stages.start(tiny(init={field: str(tmp_path / "audio")}), LIPS, ABC, STATISTICS)


def test_a_start_of_another_shape_is_named(tiny):
    wider = dataclasses.replace(tiny().model.motion, width=48)
    shapes = nn.unbox(jax.eval_shape(lambda key: init_motion(wider, key), jax.random.key(0)))
    other = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    with pytest.raises(ConfigError, match=r"config\.init: motion.* has shape .* config\.model asks for"):
        state.initialise(tiny(), make_mesh(devices=jax.devices()[:1]), {"motion": other})


def test_bundle_reads_what_a_run_left(tiny, tmp_path):
    config = tiny(optim={"audio_lr": 0.0})  # a frozen stream has no average: its parameters stand in
    made = save(tmp_path, config)
    model = bundle.load_model(tmp_path)
    assert (model.config, model.step, model.space.name, model.tokenizer.vocab_size) == (config, 0, "lips", 4)
    assert model.statistics.live.all()
    jax.tree.map(np.testing.assert_array_equal, model.params, made.averaged)
    with pytest.raises(InputError, match="no checkpoint of step 3; there are 0"):
        bundle.load_model(tmp_path, step=3)


def test_bundle_without_a_run(tmp_path):
    with pytest.raises(InputError, match="not the directory of a run"):
        bundle.load_model(tmp_path)


def test_config_comes_back_equal(tiny):
    assert build(RunConfig, to_dict(tiny())) == tiny()
