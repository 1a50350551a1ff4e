"""The probe finds a linear truth, by the clock, and nothing where there is nothing."""
import numpy as np
import pytest

from jamflow_jax import timeline
from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.mouth import pearson
from jamflow_jax.evaluate.probe import Ridge, mel_context, motion_context


def test_mel_context_averages_by_the_clock():
    mel_TF = np.arange(30.0)[:, None]
    frames = timeline.motion_frames(30)
    by_hand = [np.mean([j for j in range(30) if 15 * i <= 4 * j < 15 * i + 15]) for i in range(frames)]
    np.testing.assert_allclose(mel_context(mel_TF, frames, 0)[:, 0], by_hand)
    wide_MK = mel_context(mel_TF, frames + 2, 1)
    np.testing.assert_allclose(wide_MK[3], by_hand[2:5])
    np.testing.assert_allclose(wide_MK[0], [by_hand[0], by_hand[0], by_hand[1]])
    np.testing.assert_allclose(wide_MK[-1], [by_hand[-1]] * 3)
    for length in range(2, 40):  # some lengths end in a motion frame without a mel frame of its own
        assert np.isfinite(mel_context(mel_TF[:length], timeline.motion_frames(length))).all()


def test_motion_context_holds_the_edges():
    motion_MD = np.arange(6.0).reshape(3, 2)
    np.testing.assert_allclose(motion_context(motion_MD, 3, 1), [[0, 1, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 4, 5]])


def test_a_linear_truth_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    rest = [rng.normal(size=(60, 4)) for _ in range(12)]
    leaks = [x_MR[:, 1] + 0.1 * rng.normal(size=60) for x_MR in rest]
    nothing = [rng.normal(size=60) for _ in rest]
    for targets, low, high in ((leaks, 0.95, 1.0), (nothing, -0.3, 0.3)):
        probe = Ridge.fit(list(zip(rest[:9], targets[:9])), context=motion_context)
        found = np.mean([pearson(probe.predict(x, 60), y) for x, y in zip(rest[9:], targets[9:])])
        assert low < found < high
    with pytest.raises(InputError, match="at least 2 training clips"):
        Ridge.fit([(rest[0], leaks[0])])
