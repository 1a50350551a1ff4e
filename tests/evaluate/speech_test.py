import numpy as np
import pytest

from jamflow_jax.evaluate.speech import distances

RNG = np.random.default_rng(0)
MEL = np.repeat(RNG.normal(-3, 0.8, size=(30, 20)), 4, axis=0)
F0 = np.where(np.arange(120) % 40 < 25, 120.0, np.nan)


def test_the_truth_is_at_no_distance():
    found = distances(MEL, F0, MEL, F0)
    assert found.mel == found.mel_unaligned == 0 and found.f0 == (0, np.isfinite(F0).sum()) and found.voicing[0] == 0


def test_alignment_forgives_timing():
    late = np.concatenate([np.repeat(MEL[:1], 10, axis=0), MEL])[:120]
    found = distances(late, F0, MEL, F0)
    assert found.mel < 1.5 < 4 < found.mel_unaligned


def test_known_pitch_and_loudness():
    found = distances(MEL + np.log(2), 2 * F0, MEL, F0)
    assert found.f0[0] / found.f0[1] == pytest.approx(12)
    assert found.energy[0] / found.energy[1] == pytest.approx(6.02, abs=0.01) and found.mel == pytest.approx(6.02, abs=0.01)
    assert distances(MEL, np.full(119, np.nan), MEL, F0).voicing[0] == np.isfinite(F0).sum()


def test_silence_below_the_floor_is_silence():
    quiet, quieter = MEL.copy(), MEL.copy()
    quiet[:20], quieter[:20] = -30, -40
    assert distances(quiet, F0, quieter, F0).mel == 0
