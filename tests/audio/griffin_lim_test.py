import time

import numpy as np
import pytest

from jamflow_jax.audio.griffin_lim import griffin_lim, magnitudes
from jamflow_jax.audio.mel import FILTERS, SILENCE, log_mel_numpy
from jamflow_jax.errors import InputError


def test_the_sound_has_the_mel_it_was_made_from(speech_like):
    mel = log_mel_numpy(speech_like)
    sound = griffin_lim(mel)
    assert sound.shape == ((len(mel) - 1) * 256,) and sound.dtype == np.float32
    error = abs(log_mel_numpy(sound) - mel)
    assert error.mean() < 0.15  # of values spread over 11; 0.09 when written
    assert np.corrcoef(log_mel_numpy(sound).ravel(), mel.ravel())[0, 1] > 0.99
    assert abs(np.std(sound) / np.std(speech_like) - 1) < 0.1


def test_momentum_does_better_than_none(speech_like):
    mel = log_mel_numpy(speech_like)
    fast, plain = (abs(log_mel_numpy(griffin_lim(mel, 30, momentum=m)) - mel).mean() for m in (0.99, 0.0))
    assert fast < plain


def test_magnitudes_are_non_negative_and_fold_back_to_the_mel(speech_like):
    mel = log_mel_numpy(speech_like)
    S = magnitudes(mel)
    assert (S >= 0).all()
    assert abs(np.log(S @ FILTERS) - mel).mean() < 0.01


def test_same_arguments_same_sound(speech_like):
    mel = log_mel_numpy(speech_like[:6000])
    np.testing.assert_array_equal(griffin_lim(mel, 5, seed=3), griffin_lim(mel, 5, seed=3))
    assert abs(griffin_lim(mel, 5, seed=3) - griffin_lim(mel, 5, seed=4)).max() > 0


def test_silence_and_absurd_values_give_finite_sound():
    assert abs(griffin_lim(np.full((20, 100), SILENCE, np.float32))).max() < 1e-3
    assert np.isfinite(griffin_lim(np.full((5, 100), 1e30))).all()


@pytest.mark.parametrize(
    "mel, message",
    [
        (np.zeros((100, 20)), "shape"),
        (np.zeros((1, 50, 100)), "shape"),
        (np.zeros((4, 100)), "at least 5"),
        (np.full((9, 100), np.nan), "finite"),
    ],
)
def test_rejects(mel, message):
    with pytest.raises(InputError, match=message):
        griffin_lim(mel)


@pytest.mark.slow
def test_ten_seconds_take_under_three_of_processor_time(speech_like):
    mel = log_mel_numpy(np.tile(speech_like, 7)[:240_000])
    start = time.process_time()
    griffin_lim(mel)
    assert time.process_time() - start < 3
