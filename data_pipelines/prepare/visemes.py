"""What a face does while it says known phonemes: articulator tracks, and from them LivePortrait expressions.

Five articulators follow the phonemes: `open` (jaw), `round`, `spread`, `tuck` (lower lip to the teeth) and `press` (lips
together). Each phoneme s, from a_s to b_s, wants the value g_s and insists on it with dominance (Cohen and Massaro, 1993)

    D_s(t) = w_s exp(-(d / tau)^2),   d = a_s - t before, 0 during, t - b_s after,   tau = tau_before or tau_after     (1)
    track(t) = sum_s D_s(t) g_s / sum_s D_s(t)                                                                         (2)

so that neighbours colour each other; rounding has the longest tau_before (lips round for "oo" while "t" is still being said).
Bilabials are not negotiable: with c(t) = 1 from closure to release, and minimum-jerk ramps either side,

    open <- (1 - c) open,  press <- max(press, c)                                                                      (3)

Expressions are linear in the tracks, scaled by the speaker: exp[t] = scale_v * tracks[t] @ DIRECTIONS + rest movements.
Directions and sizes follow LivePortrait's own lip sliders and example templates: 19y is the jaw, 14 and 20 the corners and
the upper lip, 17 the lower lip's shape; 14z is dead. A little of the mouth leaks into the cheeks (3, 7, 13, 16), as it does
in real ones.
"""
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

ARTICULATORS = ("open", "round", "spread", "tuck", "press")
_OPEN, _ROUND, _SPREAD, _TUCK, _PRESS = range(5)
_MARKS = "ˈˌː:ʲ̩"

# symbol: (open, round, spread, tuck) wanted, and how much (open, round, spread) insist. tuck insists as much as open does.
_VOWELS = {
    "a": (0.90, 0.00, 0.25), "ɑ": (1.00, 0.05, 0.00), "æ": (0.92, 0.00, 0.50), "ɐ": (0.62, 0.00, 0.10),
    "ʌ": (0.70, 0.05, 0.05), "ɒ": (0.80, 0.45, 0.00), "ɔ": (0.74, 0.70, 0.00), "o": (0.55, 0.80, 0.00),
    "ə": (0.45, 0.05, 0.10), "ɚ": (0.42, 0.30, 0.00), "ɜ": (0.48, 0.25, 0.05), "ɛ": (0.66, 0.00, 0.45),
    "e": (0.55, 0.00, 0.60), "ɪ": (0.45, 0.00, 0.55), "ᵻ": (0.40, 0.00, 0.45), "i": (0.34, 0.00, 0.90),
    "ʊ": (0.40, 0.65, 0.00), "u": (0.30, 1.00, 0.00), "ʉ": (0.30, 0.85, 0.00),
}  # fmt: skip
_CONSONANTS = {
    "p": ((0.00, 0.00, 0.00, 0.0), (1.2, 0.05, 0.05)), "b": ((0.00, 0.00, 0.00, 0.0), (1.2, 0.05, 0.05)),
    "m": ((0.00, 0.00, 0.00, 0.0), (1.2, 0.05, 0.05)), "f": ((0.07, 0.00, 0.10, 1.0), (2.5, 0.20, 0.15)),
    "v": ((0.08, 0.00, 0.10, 1.0), (2.5, 0.20, 0.15)), "w": ((0.10, 1.00, 0.00, 0.0), (1.6, 2.50, 0.80)),
    "ʍ": ((0.10, 1.00, 0.00, 0.0), (1.6, 2.50, 0.80)), "ɹ": ((0.18, 0.50, 0.00, 0.0), (0.8, 0.90, 0.40)),
    "r": ((0.18, 0.30, 0.00, 0.0), (0.7, 0.60, 0.30)), "ɾ": ((0.20, 0.00, 0.10, 0.0), (0.4, 0.05, 0.05)),
    "t": ((0.12, 0.00, 0.10, 0.0), (0.8, 0.05, 0.10)), "d": ((0.13, 0.00, 0.10, 0.0), (0.8, 0.05, 0.10)),
    "n": ((0.14, 0.00, 0.10, 0.0), (0.7, 0.05, 0.10)), "l": ((0.22, 0.00, 0.10, 0.0), (0.6, 0.08, 0.10)),
    "s": ((0.08, 0.00, 0.40, 0.0), (1.2, 0.15, 0.30)), "z": ((0.09, 0.00, 0.40, 0.0), (1.2, 0.15, 0.30)),
    "ʃ": ((0.16, 0.70, 0.00, 0.0), (1.2, 1.50, 0.60)), "ʒ": ((0.16, 0.70, 0.00, 0.0), (1.2, 1.50, 0.60)),
    "θ": ((0.14, 0.00, 0.10, 0.2), (0.9, 0.10, 0.10)), "ð": ((0.15, 0.00, 0.10, 0.2), (0.8, 0.10, 0.10)),
    "k": ((0.20, 0.00, 0.10, 0.0), (0.6, 0.05, 0.05)), "ɡ": ((0.20, 0.00, 0.10, 0.0), (0.6, 0.05, 0.05)),
    "ŋ": ((0.20, 0.00, 0.10, 0.0), (0.6, 0.05, 0.05)), "h": ((0.30, 0.00, 0.05, 0.0), (0.4, 0.02, 0.02)),
    "j": ((0.18, 0.05, 0.60, 0.0), (0.7, 0.30, 0.50)), "ʔ": ((0.30, 0.00, 0.05, 0.0), (0.1, 0.02, 0.02)),
    "": ((0.02, 0.00, 0.00, 0.0), (0.7, 0.50, 0.50)),  # silence: lips at rest, just touching
}  # fmt: skip
_UNKNOWN = ((0.30, 0.00, 0.10, 0.0), (0.2, 0.05, 0.05))
BILABIALS = ("p", "b", "m")

TAU_BEFORE = np.array([0.045, 0.100, 0.080, 0.045, 0.040])  # s, one for each articulator
TAU_AFTER = np.array([0.045, 0.070, 0.070, 0.045, 0.040])  # s
CLOSURE = 0.065  # s, the least time lips stay together for p, b, m: more than one frame of 25 fps
RAMP = 0.045  # s, from open to closed and back


def known(label: str) -> bool:
    """Whether every symbol of the IPA label has a viseme of its own (unknown ones get a weak neutral one)."""
    return all(symbol in _VOWELS or symbol in _CONSONANTS for symbol in _symbols(label))


def tracks(phonemes: Sequence[tuple[float, float, str]], times_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N 5"]:
    """Articulator tracks at the given times: equations (1) to (3), exactly, without any noise.

    Args:
      phonemes: (start s, end s, IPA) in order; '' is silence. Diphthongs and affricates are two targets in one interval.
      times_N: seconds.

    Returns:
      values in [0, 1] for each of ARTICULATORS.
    """
    targets = [target for phoneme in phonemes for target in _targets(*phoneme)] or [(0.0, 0.0, "")]
    start_S = np.array([start for start, _, _ in targets])
    end_S = np.array([end for _, end, _ in targets])
    goal_SA, weight_SA = np.array([_goal(symbol) for _, _, symbol in targets]).transpose(1, 0, 2)
    before_NS = np.maximum(start_S - times_N[:, None], 0.0)
    after_NS = np.maximum(times_N[:, None] - end_S, 0.0)
    distance_NSA = before_NS[..., None] / TAU_BEFORE + after_NS[..., None] / TAU_AFTER
    # the floor keeps (2) defined far from every phoneme: the nearest one, i.e. silence, wins there
    square_NSA = np.minimum(distance_NSA**2, 60.0) + 1e-3 * distance_NSA
    dominance_NSA = weight_SA * np.exp(-square_NSA)
    track_NA = (dominance_NSA * goal_SA).sum(1) / dominance_NSA.sum(1)
    closed_N = closure(phonemes, times_N)
    track_NA[:, _OPEN] *= 1.0 - closed_N
    track_NA[:, _PRESS] = np.maximum(track_NA[:, _PRESS], closed_N)
    return track_NA


def closure(phonemes: Sequence[tuple[float, float, str]], times_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """How closed bilabials hold the lips: 1 while they do, minimum-jerk ramps of `RAMP` seconds either side, else 0."""
    closed_N = np.zeros(len(times_N))
    for start, end, label in phonemes:
        if not label.strip("ˈˌ").startswith(BILABIALS):
            continue
        missing = max(CLOSURE - (end - start), 0.0)
        distance_N = np.maximum(np.maximum(start - missing - times_N, times_N - end), 0.0)
        u_N = np.clip(1.0 - distance_N / RAMP, 0.0, 1.0)
        closed_N = np.maximum(closed_N, u_N**3 * (10.0 - 15.0 * u_N + 6.0 * u_N**2))
    return closed_N


def _symbols(label: str) -> list[str]:
    return [symbol for symbol in label if symbol not in _MARKS] or [""]


def _targets(start: float, end: float, label: str):
    symbols = _symbols(label)
    width = (end - start) / len(symbols)
    for i, symbol in enumerate(symbols):
        # a vowel reaches its shape inside its interval, not at the edges
        margin = 0.2 * width if symbol in _VOWELS else 0.0
        yield start + i * width + margin, start + (i + 1) * width - margin, symbol


def _goal(symbol: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if symbol in _VOWELS:
        opening, rounding, spread = _VOWELS[symbol]
        schwa = 0.5 if symbol in "əɐᵻ" else 1.0
        return (opening, rounding, spread, 0.0, 0.0), (schwa, schwa * (0.25 + rounding), schwa * (0.25 + spread), schwa, schwa)
    (opening, rounding, spread, tuck), (insist, insist_round, insist_spread) = _CONSONANTS.get(symbol, _UNKNOWN)
    return (opening, rounding, spread, tuck, 0.0), (insist, insist_round, insist_spread, insist, insist)


def _directions(table: dict[str, dict[int, tuple[float, float, float]]]) -> np.ndarray:
    matrix = np.zeros((len(table), 21, 3))
    for row, keypoints in zip(matrix, table.values()):
        for keypoint, xyz in keypoints.items():
            row[keypoint] = xyz
    return matrix.reshape(len(table), 63)


# LivePortrait units (the crop is about 2 wide); y points down, so an opening jaw moves 19y up in value.
DIRECTIONS = _directions({
    "open": {
        14: (-0.0020, -0.0080, 0), 17: (0.0020, 0.0050, -0.0060), 19: (0.0060, 0.0750, 0.0110), 20: (0.0020, -0.0120, -0.0090),
        3: (0, -0.0008, 0), 7: (0, -0.0010, 0), 13: (0, 0.0015, 0), 16: (0, 0.0010, 0), 0: (0, 0.0008, 0), 18: (0, 0.00004, 0),
    },
    "round": {
        14: (-0.0020, 0.0190, 0), 17: (-0.0010, -0.0070, -0.0120), 19: (-0.0030, 0.0030, 0.0100), 20: (0.0030, 0.0110, 0.0120),
        3: (0, 0.0010, 0), 7: (0, 0.0010, 0), 6: (0.00004, 0.00004, 0), 12: (0, 0.00003, 0),
    },
    "spread": {
        14: (0.0040, -0.0170, 0), 17: (-0.0030, 0.0090, 0.0070), 19: (0.0010, -0.0040, -0.0020), 20: (-0.0040, -0.0130, -0.0050),
        3: (0, -0.0012, 0), 7: (0, -0.0012, 0), 13: (0, -0.0010, 0), 16: (0, -0.0010, 0),
    },
    "tuck": {17: (0, 0.0050, 0.0050), 19: (0, -0.0070, -0.0100), 20: (0, -0.0060, 0.0040)},
    "press": {14: (0, 0.0040, 0), 17: (0, -0.0050, -0.0060), 19: (0, -0.0040, 0.0040), 20: (0, 0.0020, 0.0040)},
})  # fmt: skip

# Movements that speech does not cause: each a direction over the rest keypoints, in the same units.
BLINK = _directions({
    "blink": {11: (0, 0.0140, 0), 13: (0, -0.0040, 0), 15: (0, 0.0150, 0), 16: (0, -0.0040, 0), 18: (0, 0.0001, 0)},
})[0]
IDLE = _directions({
    "brow": {1: (0.0020, -0.0060, 0), 2: (-0.0020, -0.0060, 0), 11: (0, -0.0010, 0), 15: (0, -0.0010, 0)},
    "gaze across": {11: (0.0030, 0, 0), 15: (0.0030, 0, 0)},
    "gaze down": {11: (0, 0.0025, 0), 15: (0, 0.0025, 0), 13: (0, 0.0006, 0), 16: (0, 0.0006, 0)},
    "mood": {3: (0.0005, -0.0030, 0), 7: (-0.0005, -0.0030, 0), 13: (0, -0.0015, 0), 16: (0, -0.0015, 0)},
    "posture": {0: (0.0020, 0.0030, 0), 4: (0.0020, 0.0025, 0), 5: (0.0030, 0.0035, 0), 10: (0.0012, 0.0025, 0.0012)},
    "skin": {8: (0.00003, 0.00003, 0), 9: (0.00004, 0.00004, 0), 6: (0.00003, 0.00003, 0), 12: (0.00002, 0.00002, 0)},
})  # fmt: skip


def idle(times_N: Float[np.ndarray, "N"], rng: np.random.Generator) -> Float[np.ndarray, "N 63"]:
    """Blinks every 1.5 to 4.5 s and slow drifts (0.1 to 0.7 Hz) of brows, gaze, cheeks and posture: rest keypoints only."""
    frequency, phase = rng.uniform(0.1, 0.7, (2, len(IDLE))), rng.uniform(0, 2 * np.pi, (2, len(IDLE)))
    drift_NI = np.sin(2 * np.pi * frequency * times_N[:, None, None] + phase).mean(1)
    motion_ND = drift_NI @ IDLE
    blink = rng.uniform(0.2, 3.0)
    while times_N.size and blink < times_N[-1] + 0.3:
        motion_ND += np.exp(-(((times_N - blink) / 0.07) ** 2))[:, None] * BLINK
        blink += rng.uniform(1.5, 4.5)
    return motion_ND
