from pathlib import Path

import jax
import librosa
import numpy as np
import pytest
import soundfile

from jamflow_jax.audio.mel import FILTERS, SILENCE, log_mel, log_mel_numpy
from jamflow_jax.errors import InputError

ROOT = Path(__file__).parents[2]
RECORDING = ROOT.parent / "shared" / "data" / "speech_text" / "basic_ref_en.wav"
BOTH = pytest.mark.parametrize("mel", [log_mel, jax.jit(log_mel), log_mel_numpy], ids=["jax", "jit", "numpy"])


@BOTH
def test_equals_f5_tts_on_its_reference_recording(mel):
    if not RECORDING.exists():
        pytest.skip("the recording of the golden mel (F5-TTS's basic_ref_en.wav) is not part of a clone")
    audio, _ = soundfile.read(RECORDING, dtype="float32")
    golden = np.load(ROOT / "tests" / "golden" / "mel_basic_ref_en.npz")["log_mel"]
    error = abs(np.asarray(mel(audio)) - golden)
    assert error.max() < 1e-3 and error.mean() < 1e-5


@BOTH
def test_equals_librosa_built_the_same_way(mel, speech_like):
    expected = librosa.feature.melspectrogram(
        y=speech_like, sr=24_000, n_fft=1024, hop_length=256, pad_mode="reflect", power=1, n_mels=100, htk=True, norm=None
    )
    np.testing.assert_allclose(mel(speech_like), np.log(np.maximum(expected.T, 1e-5)), atol=1e-3)


def test_filter_bank_is_librosas():
    expected = librosa.filters.mel(sr=24_000, n_fft=1024, n_mels=100, htk=True, norm=None).T
    np.testing.assert_allclose(FILTERS, expected, atol=1e-6)
    assert (FILTERS.sum(0) > 0).all()  # no empty band


@pytest.mark.parametrize("samples", [1024, 1279, 1280, 38_400])
def test_jax_numpy_and_batches_agree_at_every_remainder(samples, speech_like):
    audio = speech_like[-samples:]
    host = log_mel_numpy(audio)
    batch = np.asarray(log_mel(np.stack([audio, audio[::-1]])[None]))
    assert host.shape == (samples // 256 + 1, 100) and batch.shape == (1, 2, *host.shape)
    np.testing.assert_allclose(batch[0, 0], host, atol=1e-3)
    np.testing.assert_allclose(batch[0, 1], log_mel_numpy(audio[::-1]), atol=1e-3)


def test_chunks_of_a_long_sound_join_without_a_seam(speech_like):
    audio = np.tile(speech_like, 3)  # 451 frames: two chunks
    error = abs(log_mel_numpy(audio) - np.asarray(log_mel(audio)))
    assert error.max() < 1e-3


def test_silence_is_the_floor():
    assert (log_mel_numpy(np.zeros(2048, np.float32)) == np.float32(SILENCE)).all()


def test_frames_before_the_padding_do_not_see_it(speech_like):
    padded = np.zeros(60_000, np.float32)
    padded[: len(speech_like)] = speech_like
    untouched = len(speech_like) // 256 - 1
    np.testing.assert_allclose(log_mel(padded)[:untouched], log_mel_numpy(speech_like)[:untouched], atol=1e-3)


@pytest.mark.parametrize(
    "audio, message",
    [
        (np.zeros(1023, np.float32), "1023 samples"),
        (np.zeros(4000, np.int16), "int16"),
        (np.zeros((4000, 2), np.float32), "one channel"),
    ],
)
def test_host_rejects(audio, message):
    with pytest.raises(InputError, match=message):
        log_mel_numpy(audio)


def test_device_rejects_a_clip_shorter_than_a_window_under_jit():
    with pytest.raises(InputError, match="1000 samples"):
        jax.jit(log_mel)(np.zeros((3, 1000), np.float32))
