"""Is the mouth in step with the sound? Measures that hang on no network: a linear probe's prediction p against an opening y.

    r(k) = Pearson(p[i], y[i + k])       k > 0: the mouth is late by k motion frames of 40 ms                         (1)
    offset = argmax_k r(k);  a clip is in step when |offset| <= 1
    retrieval: r(p, y) of a clip's own motion is above that of the N - 1 others, mean curve subtracted; chance 1 / N   (2)

Lips close for p, b and m. A closure is a run of frames with the opening under a threshold, between the first word and the last. It
counts as right when it comes within TOLERANCE of a bilabial, so with TP bilabials met, FN missed, and FP closures that meet none,

    F1 = 2 TP / (2 TP + FP + FN)                                                                                      (3)

The threshold is that of the best F1 of the truth over the training clips. Where only word times are known, a letter lies in its
word by its place in the spelling. Lips also touch for f, v and w and in pauses, so the truth itself stays under 1: read (3)
beside its row.
"""
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.mouth import pearson
from jamflow_jax.timeline import MOTION_FPS

REACH = 12  # motion frames either side of the lag curve: 0.48 s
TOLERANCE = 0.08  # s, two motion frames
SILENCES = ("", "sil", "sp", "spn", "<eps>", "SIL", "pau")
_BILABIALS = ("p", "b", "m")
Span = tuple[float, float]


def lag_curve(p_M: Float[np.ndarray, "M"], y_M: Float[np.ndarray, "M"], reach: int = REACH) -> Float[np.ndarray, "K"]:
    """Equation 1 for k = -reach ... reach, over the frames both have; 0 where either side does not vary."""
    M = min(len(p_M), len(y_M))
    return np.array([
        pearson(p_M[max(0, -k) : M - max(0, k)], y_M[max(0, k) : M - max(0, -k)]) for k in range(-reach, reach + 1)
    ])


def offset(curve_K: Float[np.ndarray, "K"]) -> int | None:
    """Motion frames by which the mouth is late: where the lag curve peaks; None when it is flat."""
    return None if np.ptp(curve_K) == 0 else int(np.argmax(curve_K)) - len(curve_K) // 2


def retrieved(own: float, others: Sequence[float]) -> bool:
    """Equation 2: whether the own motion's score is above all others; a tie is a miss."""
    return bool(own > max(others))


def bilabials_of_phonemes(phonemes: Sequence[tuple[float, float, str]]) -> list[Span]:
    """(start s, end s) of each p, b and m among (start, end, IPA or ARPAbet) intervals."""
    return [(a, b) for a, b, label in phonemes if label.strip("ˈˌ").lower().startswith(_BILABIALS)]


def bilabials_of_words(words: Sequence[tuple[float, float, str]]) -> list[Span]:
    """Where the lips close by the spelling of (start, end, word): letter k of n lies at (k + 1/2) / n, first and last at the ends.

    "ph" is an f, a doubled letter is one, and the letters b and p close at their start ("bee"), m at its end ("em").
    """
    found = []
    for start, end, word in words:
        word = word.lower()
        if word in SILENCES:
            continue
        if word in _BILABIALS:
            at = end if word == "m" else start
            found.append((at, at))
            continue
        for k, letter in enumerate(word):
            if letter not in _BILABIALS or word[k : k + 2] == "ph" or (k and word[k - 1] == letter):
                continue
            place = 0.0 if k == 0 else 1.0 if k == len(word) - 1 else (k + 0.5) / len(word)
            at = start + place * (end - start)
            found.append((at, at))
    return found


def speech_span(words: Sequence[tuple[float, float, str]]) -> Span | None:
    """From the first word's start to the last one's end, silences left out; None without a word."""
    spoken = [(a, b) for a, b, word in words if word not in SILENCES]
    return (spoken[0][0], spoken[-1][1]) if spoken else None


def closure_counts(
    opening_M: Float[np.ndarray, "M"], threshold: float, bilabials: Sequence[Span], speech: Span
) -> tuple[int, int, int]:
    """(TP, FP, FN) of equation 3 for one clip; frame i stands for (i + 1/2) / 25 s."""
    time_M = (np.arange(len(opening_M)) + 0.5) / MOTION_FPS
    closed_M = (np.asarray(opening_M) < threshold) & (time_M >= speech[0] - TOLERANCE) & (time_M <= speech[1] + TOLERANCE)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], closed_M, [False]]).astype(np.int8)))
    runs = [(time_M[a], time_M[b - 1]) for a, b in zip(edges[::2], edges[1::2])]

    def meets(run: Span, event: Span) -> bool:
        return run[0] <= event[1] + TOLERANCE and run[1] >= event[0] - TOLERANCE

    events = [event for event in bilabials if event[0] * MOTION_FPS < len(opening_M)]
    hit = sum(any(meets(run, event) for run in runs) for event in events)
    stray = sum(not any(meets(run, event) for event in events) for run in runs)
    return hit, stray, len(events) - hit


def best_threshold(
    openings: Sequence[Float[np.ndarray, "?M"]], bilabials: Sequence[Sequence[Span]], speech: Sequence[Span], tried: int = 40
) -> float:
    """The threshold, among quantiles of all openings, of the best F1 (3) over clips.

    Raises:
      InputError: no clip.
    """
    if not openings:
        raise InputError("a closure threshold needs at least one training clip with word or phoneme times")
    candidates = np.quantile(np.concatenate(list(openings)), np.linspace(0.01, 0.7, tried))

    def score(threshold: float) -> float:
        counts = np.sum([closure_counts(*item[:1], threshold, *item[1:]) for item in zip(openings, bilabials, speech)], axis=0)
        return f1(*counts)

    return float(max(candidates, key=score))


def f1(tp: int, fp: int, fn: int) -> float:
    """Equation 3; 0 where nothing was there or said."""
    return 2 * tp / max(2 * tp + fp + fn, 1)
