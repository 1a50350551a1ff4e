"""A sound to measure on: voiced syllables with a moving pitch and formants, and hiss between them."""
import numpy as np
import pytest


@pytest.fixture(scope="session")
def speech_like() -> np.ndarray:
    """1.6 s at 24 kHz, [38400] float32 in [-1, 1]."""
    time = np.arange(38_400) / 24_000
    pitch = 120 + 25 * np.sin(2 * np.pi * 1.1 * time)
    turns = np.cumsum(pitch) / 24_000
    harmonics = np.arange(1, 60)[:, None]
    frequency = harmonics * pitch
    formants = [(500 + 200 * np.sin(2 * np.pi * time), 90), (1500 + 0 * time, 140), (2600 + 0 * time, 200)]
    gain = sum(1 / (1 + ((frequency - centre) / width) ** 2) for centre, width in formants)
    voiced = (gain * np.sin(2 * np.pi * harmonics * turns)).sum(0)
    syllable = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, 1)
    hiss = np.random.default_rng(0).standard_normal(len(time))
    sound = 0.2 * syllable * voiced + 0.05 * (1 - syllable) * hiss
    return (0.8 * sound / abs(sound).max()).astype(np.float32)
