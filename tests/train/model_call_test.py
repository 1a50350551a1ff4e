"""What differs between the stages."""
import jax.numpy as jnp
import numpy as np

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
