"""Sound from a mel of any length at constant memory: overlapping windows through a vocoder, cross-faded where they meet.

A window decodes CONTEXT frames more at either side than it contributes, so that the FADE frames in which two windows are mixed are
well inside both. Vocos sees 27 frames of its 9 convolutions and two of the inverse transform each side: windowed and whole agree to
rounding. Griffin-Lim's phases do not agree, and the fade covers that.
"""
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Float

from jamflow_jax.timeline import HOP

CONTEXT = 40  # mel frames
FADE = 8  # mel frames, 85 ms
WINDOW = 1_200  # mel frames that `windowed` decodes at once, 12.8 s

Vocoder = Callable[[Float[np.ndarray, "T F"], int], Float[np.ndarray, "N"]]  # (log-mel, seed) -> (T - 1) * 256 samples


def stream(vocoder: Vocoder, mels: Iterable[Float[np.ndarray, "T F"]], seed: int = 0) -> Iterator[Float[np.ndarray, "N"]]:
    """Samples of a mel that comes in pieces: (T - 1) * 256 for T frames in all. Pieces may be of any length."""
    mel = None  # frames not yet decided, with those before them that are context
    first = 0  # of them, how many have been decided
    old = np.zeros(0, np.float32)  # what the window before made of the first FADE undecided frames
    for piece in mels:
        mel = piece if mel is None else np.concatenate([mel, piece])
        if len(mel) < first + 2 * CONTEXT + FADE:
            continue
        sound = _fade(vocoder(mel, seed), old, first)
        decided = len(mel) - CONTEXT
        yield sound[first * HOP : decided * HOP]
        old = sound[decided * HOP : (decided + FADE) * HOP]
        mel, first = mel[decided - CONTEXT :], CONTEXT
    if mel is not None:
        yield _fade(vocoder(mel, seed), old, first)[first * HOP :]


def windowed(vocoder: Vocoder) -> Vocoder:
    """The same vocoder, of a whole mel, at the memory of a window."""

    def decode(mel_TF: Float[np.ndarray, "T F"], seed: int) -> Float[np.ndarray, "N"]:
        if len(mel_TF) <= WINDOW + CONTEXT:
            return vocoder(mel_TF, seed)
        starts = range(0, len(mel_TF), WINDOW)
        return np.concatenate(list(stream(vocoder, (mel_TF[start : start + WINDOW] for start in starts), seed)))

    return decode


def _fade(sound: np.ndarray, old: np.ndarray, first: int) -> np.ndarray:
    """`sound` with `old` mixed in from frame `first` on, its weight falling from 1 to 0."""
    sound = np.array(sound, np.float32)
    part = sound[first * HOP : first * HOP + len(old)]
    weight = (np.arange(len(part), dtype=np.float32) + 0.5) / max(1, len(part))
    part[:] = weight * part + (1 - weight) * old[: len(part)]
    return sound
