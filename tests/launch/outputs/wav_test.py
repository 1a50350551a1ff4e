"""Sound files keep length, rate and level; the template's sound starts one motion frame later."""
import numpy as np
import pytest
import soundfile

from launch.outputs.wav import for_template, write_wav


def test_round_trip(tmp_path):
    audio = np.sin(np.arange(4800) / 20).astype(np.float32) * 0.5
    write_wav(tmp_path / "a.wav", audio)
    back, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate == 24_000 and back.shape == audio.shape
    np.testing.assert_allclose(back, audio, atol=1e-4)


def test_loud_sound_is_scaled_not_clipped(tmp_path):
    write_wav(tmp_path / "a.wav", np.array([0.5, -2.0, 1.0]))
    np.testing.assert_allclose(soundfile.read(tmp_path / "a.wav")[0], [0.25, -1, 0.5], atol=1e-4)


def test_sound_that_is_not_finite_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        write_wav(tmp_path / "a.wav", np.array([0.0, np.nan]))


def test_the_template_sound_has_40_ms_of_silence_first():
    audio = np.ones(10, np.float32)
    shifted = for_template(audio)
    assert len(shifted) == 970 and not shifted[:960].any() and (shifted[960:] == 1).all()
