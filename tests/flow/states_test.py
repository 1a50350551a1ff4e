"""The table of states, row by row."""
import jax.numpy as jnp
import numpy as np

from jamflow_jax.flow.states import ABSENT, GENERATED, GIVEN, Conditions, drop, model_arguments


def example(audio, motion):
    return Conditions(
        audio_state_B=jnp.array(audio),
        motion_state_B=jnp.array(motion),
        audio_context_BTF=jnp.full((len(audio), 15, 2), 3.0),
        motion_context_BMD=jnp.full((len(audio), 4, 2), 4.0),
        text_BN=jnp.full((len(audio), 15), 7),
        drop_text_B=jnp.zeros(len(audio), bool),
        rest_BMR=jnp.full((len(audio), 4, 3), 5.0),
        length_B=jnp.full(len(audio), 15),
    )


def arguments(conditions):
    B = conditions.length_B.shape[0]
    return model_arguments(
        conditions, jnp.full((B, 15, 2), 1.0), jnp.full((B, 4, 2), 2.0), jnp.full(B, 0.3), jnp.full(B, 0.6)
    )


def test_inputs_by_state():
    out = arguments(example([GENERATED, GIVEN, ABSENT], [ABSENT, GENERATED, GIVEN]))
    audio, motion = out["audio"], out["motion"]
    np.testing.assert_array_equal(audio.x_BTF[:, 0, 0], [1, 3, 0])
    np.testing.assert_array_equal(audio.context_BTF[:, 0, 0], [3, 3, 0])
    np.testing.assert_allclose(audio.time_B, [0.3, 1, 0])
    np.testing.assert_array_equal(audio.text_BN[:, 0], [7, 7, -1])
    np.testing.assert_array_equal(motion.x_BMD[:, 0, 0], [0, 2, 4])
    np.testing.assert_array_equal(motion.context_BMD[:, 0, 0], [0, 4, 4])
    np.testing.assert_array_equal(motion.rest_BMR[:, 0, 0], [0, 5, 5])
    np.testing.assert_allclose(motion.time_B, [0, 0.6, 1])
    np.testing.assert_array_equal(out["joint_audio_B"], [False, True, True])
    np.testing.assert_array_equal(out["joint_motion_B"], [True, True, False])


def test_dropped_given_audio_leaves_no_trace():
    """Zeroing only the context of a clean stream would leave x = x_1 in sight."""
    out = arguments(drop(example([GIVEN], [GENERATED]), audio=True))
    assert not out["audio"].x_BTF.any() and not out["audio"].context_BTF.any() and not out["joint_motion_B"].any()
    out = arguments(drop(example([GENERATED], [GENERATED]), audio=True))
    assert out["audio"].x_BTF.all() and not out["audio"].context_BTF.any() and out["joint_motion_B"].all()


def test_flags_may_differ_by_example_and_dropping_twice_is_dropping_once():
    conditions = example([GIVEN, GIVEN], [GENERATED, GIVEN])
    flags = {"audio": jnp.array([True, False]), "motion": jnp.array([False, True]), "text": jnp.array([False, True])}
    once = drop(conditions, **flags)
    np.testing.assert_array_equal(once.audio_state_B, [ABSENT, GIVEN])
    np.testing.assert_array_equal(once.motion_state_B, [GENERATED, ABSENT])
    np.testing.assert_array_equal(once.drop_text_B, [False, True])
    np.testing.assert_array_equal(once.rest_BMR[:, 0, 0], [5, 0])
    twice = drop(once, **flags)
    for name in ("audio_state_B", "motion_state_B", "audio_context_BTF", "rest_BMR", "drop_text_B"):
        np.testing.assert_array_equal(getattr(once, name), getattr(twice, name))
