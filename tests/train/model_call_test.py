"""What differs between the stages."""
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.flow import objective, states
from jamflow_jax.train.model_call import mel_per_motion_frame, objective_config, visible


def test_mel_frames_fall_into_the_motion_frame_that_covers_them():
    """Motion frame i covers ticks [15 i, 15 i + 15), mel frame j sits at 4 j: 0-3, 4-7, 8-11, 12-14 in the first 15."""
    mel = jnp.arange(15.0).reshape(1, 15, 1)
    np.testing.assert_allclose(mel_per_motion_frame(mel, jnp.array([15]), 4)[0, :, 0], [1.5, 5.5, 9.5, 13])
    np.testing.assert_allclose(mel_per_motion_frame(mel, jnp.array([6]), 4)[0, :, 0], [1.5, 4.5, 0, 0])


def test_stage_one_counts_motion_alone(tiny, batch):
    config = tiny(stage=1)
    goal = objective_config(config)
    assert (goal.hide_probs, goal.audio_weight) == ((0.0, 1.0, 0.0), 0.0)
    assert visible(config, batch(0, has_motion=False))["weight"].sum() == 0
    assert objective_config(tiny()) == tiny().objective


@pytest.mark.parametrize("speech, flag", [("features", "has_speech"), ("mel", "has_audio")])
def test_in_stage_one_audio_is_there_where_what_stands_for_it_is(tiny, batch, speech, flag):
    """Features without sound are heard; sound without features is absent, not given zeros."""
    config = tiny(stage=1, speech=speech)
    data = batch(0) | {"has_audio": np.array([True, True, False, False]), "has_speech": np.array([True, False, True, False])}
    data["speech"] = np.ones((*data["mouth"].shape[:2], 2), np.float32) * data["has_speech"][:, None, None]
    seen, goal = visible(config, data), objective_config(tiny(stage=1, objective={"drop_all": 0.0, "drop_audio": 0.0}))
    drawn = objective.draw(goal, objective.example_keys(0, 0, data["example_id"]), seen)
    told = objective.conditions(drawn, seen)
    np.testing.assert_array_equal(np.asarray(told.audio_state_B), np.where(data[flag], states.GIVEN, states.ABSENT))
    np.testing.assert_array_equal(np.any(told.speech_BMS, axis=(1, 2)), data["has_speech"] & data[flag])
    whole = visible(tiny(), data | {"mel": data["mel"].astype(np.float16)})  # float16 as it travels, float32 as it is seen
    assert whole["mel"].dtype == np.float32 and all(whole[name] is data[name] for name in data if name not in ("mel", "speech"))
