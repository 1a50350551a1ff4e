"""The rows are what they are called."""
import numpy as np
import pytest

from jamflow_jax.audio.mel import log_mel_numpy
from jamflow_jax.motion.normalise import Statistics
from launch.evaluation.clips import Clips, Held
from launch.evaluation.rows import MOTION, SOUND, Controls


@pytest.fixture(scope="module")
def controls():
    rng = np.random.default_rng(0)

    def held(number):
        audio = 0.1 * rng.normal(size=24_000).astype(np.float32)
        motion = rng.normal(size=(26, 4)).astype(np.float32)
        return Held(number, f"c{number}", 94, log_mel_numpy(audio), motion, audio, None, None, {})

    clips = Clips([held(i) for i in range(4)], [held(9), held(10)], 0)
    statistics = Statistics.from_arrays([clip.motion_MD for clip in clips.train])
    return clips, Controls(clips, statistics, lambda mel, seed: np.full((len(mel) - 1) * 256, 0.1, np.float32))


def test_sound(controls):
    clips, rows = controls
    takes = {row: rows.sound(row, 1) for row in SOUND}
    truth = clips.test[1]
    assert takes["truth"].audio_N is truth.audio_N and (takes["shuffled"].audio_N == clips.test[clips.others[1]].audio_N).all()
    assert (takes["shifted"].audio_N[:4800] == 0).all() and (takes["shifted"].audio_N[4800:] == truth.audio_N[:-4800]).all()
    noise = takes["noised"].audio_N - truth.audio_N
    assert 10 * np.log10((truth.audio_N**2).mean() / (noise**2).mean()) == pytest.approx(5, abs=0.2)
    np.testing.assert_allclose(takes["mean curve"].mel_TF, np.mean([clip.mel_TF for clip in clips.train], axis=0), rtol=1e-5)
    assert all(take.mel_TF.shape == (94, 100) for take in takes.values())


def test_motion(controls):
    clips, rows = controls
    takes = {row: rows.motion(row, 2).motion_MD for row in MOTION}
    truth = clips.test[2].motion_MD
    assert (takes["truth"] == truth).all() and (takes["shuffled"] == clips.test[clips.others[2]].motion_MD).all()
    assert (takes["shifted"][5:] == truth[:-5]).all() and (takes["shifted"][:5] == truth[0]).all()
    assert (takes["noised"] == rows.motion("noised", 2).motion_MD).all(), "the same each time"
    assert (takes["noised"] != rows.motion("noised", 2, sample=1).motion_MD).any()
    assert (rows.motion("shuffled", 2, 1).motion_MD != takes["shuffled"]).any()
