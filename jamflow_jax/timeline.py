"""The one clock of audio and motion, in exact integers.

Audio runs at 24 kHz with a hop of 256 samples, motion at 25 frames a second. Both fall on a grid of 375 ticks a second:

    mel frame j    sits at tick 4 j          (j * 256 / 24000 s = 4 j / 375 s)
    motion frame i covers  [15 i, 15 i + 15) ([i / 25, (i + 1) / 25) s)

so 15 mel frames last as long as 4 motion frames: 0.16 s, the grid on which crops start. T mel frames carry
M = ceil(4 T / 15) motion frames. No function here touches a float, except the two that name seconds.
"""
from fractions import Fraction

SAMPLE_RATE = 24_000  # Hz
HOP = 256  # samples between mel frames
MEL_BINS = 100
MOTION_FPS = 25
TICKS_PER_SECOND = 375
MEL_TICKS = 4  # ticks between mel frames
MOTION_TICKS = 15  # ticks a motion frame lasts
CROP_MEL = 15  # mel frames and
CROP_MOTION = 4  # motion frames of the 0.16 s grid


def mel_frames(samples: int) -> int:
    """Mel frames of `samples` audio samples at 24 kHz (centred frames, as F5-TTS: n // 256 + 1)."""
    return samples // HOP + 1


def motion_frames(mel: int):
    """Motion frames carried by `mel` mel frames: ceil(4 T / 15). Works on ints and on integer arrays."""
    return -(-MEL_TICKS * mel // MOTION_TICKS)


def mel_frames_of_motion(motion: int):
    """The most mel frames that `motion` motion frames cover: the largest T with motion_frames(T) <= motion."""
    return MOTION_TICKS * motion // MEL_TICKS


def mel_frames_of_seconds(seconds: float | Fraction) -> int:
    """Mel frames of a clip of that length in seconds (the nearest sample is taken first)."""
    return mel_frames(round(Fraction(seconds) * SAMPLE_RATE))


def seconds_of_mel(mel: int) -> float:
    """Seconds from the start to mel frame `mel`."""
    return mel * MEL_TICKS / TICKS_PER_SECOND


def window_ticks(seconds: Fraction) -> tuple[int, int]:
    """A window of `seconds` each side, in whole ticks: the largest integers a <= w and b < w (w = 375 * seconds).

    Integer distances d satisfy `d <= w` exactly when `d <= a`, and `d < w` exactly when `d <= b`, for any rational w, so masks
    need integer comparisons only.
    """
    ticks = Fraction(seconds) * TICKS_PER_SECOND
    if ticks < 0:
        raise ValueError(f"a window of {seconds} s is negative")
    inclusive = ticks.numerator // ticks.denominator
    exclusive = -(-ticks.numerator // ticks.denominator) - 1
    return inclusive, exclusive
