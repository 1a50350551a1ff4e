import dataclasses
import json
from fractions import Fraction

import pytest

from jamflow_jax.config import build, to_dict
from jamflow_jax.errors import ConfigError
from jamflow_jax.model.config import JamFlowConfig


def test_nested_fields_fractions_and_tuples_are_built_and_survive_json():
    config = build(JamFlowConfig, {
        "audio": {"depth": 4, "width": 64, "heads": 1}, "motion": {"depth": 4, "width": 64, "heads": 1, "window_seconds": "3/25"},
        "joint_layers": [2, 0], "windows": {"motion_audio": None, "audio_motion": 0.25}})
    assert config.motion.window_seconds == Fraction(3, 25)
    assert config.joint == (0, 2)
    assert config.windows.motion_audio is None and config.windows.audio_motion == Fraction(1, 4)
    assert build(JamFlowConfig, json.loads(json.dumps(to_dict(config)))) == config
    assert hash(config) == hash(dataclasses.replace(config))


@pytest.mark.parametrize("values, message", [
    ({"audoi": {}}, "config.audoi: no such field, did you mean 'audio'"),
    ({"audio": {"dept": 3}}, "config.audio.dept: no such field, did you mean 'depth'"),
    ({"audio": {"depth": "three"}}, "config.audio.depth: expected int, got 'three'"),
    ({"audio": {"depth": True}}, "config.audio.depth: expected int, got True"),
    ({"audio": 3}, "config.audio: expected a group of fields"),
    ({"motion": {"rope_alignment": "tim"}}, "is not one of 'time'"),
    ({"joint_layers": 3}, "config.joint_layers: expected a list"),
    ({"joint_layers": [30]}, "outside the 22 layers"),
    ({"audio": {"depth": 4}}, "audio.depth is 4, motion.depth is 22"),
    ({"windows": {"audio_motion": "1/0"}}, "not a number or a fraction"),
    ({"windows": {"audio_motion": -1}}, "negative"),
    ({"audio": {"head_dim": 63}}, "odd"),
])
def test_wrong_fields_are_named(values, message):
    with pytest.raises(ConfigError) as error:
        build(JamFlowConfig, values)
    assert message in str(error.value) and "\n" not in str(error.value)
