import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from jamflow_jax.audio.stft import N_FFT, istft, stft
from jamflow_jax.errors import InputError


def test_stft_is_librosas_in_numpy_and_in_jax(speech_like):
    expected = librosa.stft(speech_like, n_fft=1024, hop_length=256, pad_mode="reflect").T
    np.testing.assert_allclose(stft(speech_like), expected, atol=2e-4)
    np.testing.assert_allclose(stft(jnp.asarray(speech_like), jnp), expected, atol=2e-4)


@pytest.mark.parametrize("xp", [np, jnp])
def test_istft_gives_the_signal_back(speech_like, xp):
    pair = xp.asarray(np.stack([speech_like[:10_000], speech_like[5_000:15_000]]))
    back = istft(stft(pair, xp), xp)
    assert back.shape == (2, 10_000 // 256 * 256) and back.dtype == np.float32
    np.testing.assert_allclose(back, pair[:, : back.shape[-1]], atol=2e-6)


@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize("audio", [np.zeros(N_FFT - 1, np.float32), np.zeros(0, np.float32), np.zeros(4000, np.int16)])
def test_sound_too_short_or_not_scaled_is_one_line(audio, xp):
    with pytest.raises(InputError, match="samples|floating point") as error:
        stft(xp.asarray(audio), xp)
    assert "\n" not in str(error.value)
