"""Motion at any frame rate, or at irregular times, brought to 25 frames a second in exact rational arithmetic.

Input frame i is the face at i / f_in seconds and stands for [i / f_in, (i+1) / f_in). Output frame j, at j / f_out, lies at
input position

    p_j = j f_in / f_out = a_j / b        (integers; b = the denominator of f_in / f_out)
    y_j = x[i] + w (x[i+1] - x[i]),       i = a_j div b,   w = (a_j mod b) / b

so an hour at 30000/1001 drifts by nothing, and where an input frame is hit (w = 0) it is copied. Output frames start inside the
clip's duration N / f_in: there are M = ceil(N f_out / f_in). Those after the last input frame began (at most its own duration)
repeat it. There is no low-pass filter: faces move below 12 Hz.
"""

import math
import numbers
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float

from jamflow_jax.errors import InputError
from jamflow_jax.timeline import MOTION_FPS

SLOWEST = Fraction(1, 10)  # frames a second
_NTSC = tuple(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120))


def frame_rate(value: Fraction | int | float | str | np.number) -> Fraction:
    """A frame rate in frames per second as an exact fraction.

    Fractions, integers and "p/q" are taken as they are. Decimals within 0.005 of n * 1000/1001 (29.97, 23.976, 59.94) mean
    that rate; other decimals become the nearest fraction with a denominator up to 1001.

    Raises:
      InputError: not a number, or not between 1/10 and 10000.
    """
    try:
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, bool):  # which Python counts among the integers
            raise TypeError
        if isinstance(value, numbers.Rational) or (isinstance(value, str) and "/" in value):
            rate = Fraction(value)
        else:
            decimal = Fraction(str(value))
            near = [r for r in _NTSC if abs(r - decimal) < Fraction(5, 1000)]
            rate = near[0] if near else decimal.limit_denominator(1001)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        raise InputError(f"frame rate {value!r} is not a number or a fraction such as '30000/1001'") from None
    if not SLOWEST <= rate <= 10_000:
        said = value if isinstance(value, np.generic) else repr(value)
        raise InputError(f"frame rate {said} is not between 0.1 and 10000 frames a second")
    return rate


def resampled_length(
    frames: int, fps_in: Fraction | int | float | str, fps_out: Fraction | int | float | str = MOTION_FPS
) -> int:
    """Output frames that start within `frames` input frames: ceil(frames * fps_out / fps_in)."""
    count = frames * frame_rate(fps_out) / frame_rate(fps_in)
    return -(-count.numerator // count.denominator)


def resample(
    x_ND: Float[np.ndarray, "N D"],
    fps_in: Fraction | int | float | str,
    fps_out: Fraction | int | float | str = MOTION_FPS,
) -> Float[np.ndarray, "M D"]:
    """Linear interpolation at exact frame times; the dtype is kept, integers become float32.

    Args:
      x_ND: N >= 1 frames (any trailing shape).
      fps_in, fps_out: frames per second, exact or decimal (see `frame_rate`).

    Returns:
      [M, D] with M = ceil(N fps_out / fps_in); the input itself when the rates are equal.

    Raises:
      InputError: no frame, or a rate that is none.
    """
    x_ND = _frames(x_ND)
    step = frame_rate(fps_in) / frame_rate(fps_out)
    position_M = np.arange(resampled_length(len(x_ND), fps_in, fps_out), dtype=np.int64) * step.numerator
    return _lerp(x_ND, position_M // step.denominator, (position_M % step.denominator) / step.denominator)


def resample_times(
    x_ND: Float[np.ndarray, "N D"],
    times_N: Sequence[int | float | Fraction] | np.ndarray,
    time_base: Fraction | int | str = 1,
    fps_out: Fraction | int | float | str = MOTION_FPS,
    start: Fraction | int | float = 0,
    duration: Fraction | int | float | None = None,
) -> Float[np.ndarray, "M D"]:
    """Frames at irregular times (variable-frame-rate video), brought to `fps_out` from second `start` on.

    Args:
      x_ND: N >= 1 frames.
      times_N: when each frame appears, strictly increasing, in units of `time_base` seconds (a container's presentation
        timestamps with its time base, or seconds with 1). Integers, Fractions and binary floats are all taken exactly.
      time_base: seconds per unit.
      fps_out: output frames per second; output frame j is at start + j / fps_out.
      start: second of output frame 0. Before the first input frame that frame is held.
      duration: seconds to fill; default: to the end of the last frame, which lasts as long as the one before it
        (a single frame gives a single frame). Past the last input frame it is held.

    Raises:
      InputError: times not increasing, not one per frame, or (without `duration`) less than one in ten seconds.
    """
    x_ND = _frames(x_ND)
    raw = times_N.tolist() if isinstance(times_N, np.ndarray) else list(times_N)
    try:
        base, start = Fraction(time_base), Fraction(start)
        times = [Fraction(t) * base for t in raw]
        duration = None if duration is None else Fraction(duration)
    except (ValueError, TypeError, OverflowError):
        raise InputError("frame times are not all finite numbers") from None
    if len(times) != len(x_ND):
        raise InputError(f"{len(times)} frame times for {len(x_ND)} motion frames")
    for n, (a, b) in enumerate(zip(times, times[1:])):
        if not a < b:
            raise InputError(f"frame times do not increase: frame {n + 1} at {float(b)} s follows {float(a)} s")
    step = 1 / frame_rate(fps_out)
    if duration is None:
        end = times[-1] + (times[-1] - times[-2] if len(times) > 1 else step)
        duration = end - start
        if duration * SLOWEST > len(times):
            raise InputError(
                f"{len(times)} frame times from {float(start):g} to {float(end):g} s: less than {float(SLOWEST)} a second; "
                "times count in seconds, or say their unit (time_base)"
            )
    count = duration / step
    count = max(-(-count.numerator // count.denominator), 0)
    if not count:
        raise InputError("the frame times leave nothing after the start")
    unit = math.lcm(start.denominator, step.denominator, *(time.denominator for time in times))  # all times in 1 / unit s: integers
    start, step, *at = (int(time * unit) for time in (start, step, *times))
    first_N = [min(max(-(-(time - start) // step), 0), count) for time in at]  # the first output frame not before an input frame
    frame_M = np.arange(count)
    index_M = np.searchsorted(first_N, frame_M, side="right") - 1
    between_M = (index_M >= 0) & (index_M < len(at) - 1)
    weight_M, at_N, low = np.zeros(count), np.array(at, object), index_M[between_M]  # Python's integers divide exactly rounded
    weight_M[between_M] = (start + frame_M[between_M].astype(object) * step - at_N[low]) / (at_N[low + 1] - at_N[low])
    return _lerp(x_ND, np.maximum(index_M, 0), weight_M)


def fill_gaps(
    x_MD: Float[np.ndarray, "M D"], valid_M: Bool[np.ndarray, "M"] | None = None, max_gap: int = 5
) -> Float[np.ndarray, "M D"]:
    """Fills frames in which no face was found: linearly between neighbours, at either end by holding the nearest.

    Args:
      x_MD: motion; a frame with any value that is not finite is missing.
      valid_M: False marks further missing frames.
      max_gap: the longest run of missing frames that may be made up.

    Raises:
      InputError: a longer run, or no valid frame at all; the message names the first bad run.
    """
    x_MD = _frames(x_MD)
    here_M = np.isfinite(x_MD).reshape(len(x_MD), -1).all(1)
    if valid_M is not None:
        valid_M = np.asarray(valid_M, bool)
        if valid_M.shape != here_M.shape:
            raise InputError(f"{valid_M.shape[0] if valid_M.ndim else 0} validity flags for {len(x_MD)} motion frames")
        here_M = here_M & valid_M
    if here_M.all():
        return x_MD
    if not here_M.any():
        raise InputError(f"motion is missing in all {len(x_MD)} frames")
    edges = np.flatnonzero(np.diff(np.concatenate([[True], here_M, [True]]).astype(np.int8)))
    for first, end in zip(edges[::2], edges[1::2]):
        if end - first > max_gap:
            raise InputError(
                f"motion is missing in frames {first} to {end - 1}: {end - first} in a row, at most {max_gap} are filled"
            )
    known = np.flatnonzero(here_M)
    frame_M = np.clip(np.arange(len(x_MD)), known[0], known[-1])
    before_M = np.searchsorted(known, frame_M, side="right") - 1
    after_M = np.minimum(before_M + 1, len(known) - 1)
    low_M, high_M = known[before_M], known[after_M]
    weight_M = np.where(high_M > low_M, (frame_M - low_M) / np.maximum(high_M - low_M, 1), 0.0)
    return _between(x_MD, low_M, high_M, weight_M)


def _frames(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim < 1 or not len(x):
        raise InputError("motion has no frame")
    if x.dtype.kind not in "fiub":
        raise InputError(f"motion holds {x.dtype}, not numbers")
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def _lerp(x_ND: np.ndarray, index_M: np.ndarray, weight_M: np.ndarray) -> np.ndarray:
    low_M = np.minimum(index_M, len(x_ND) - 1)
    return _between(x_ND, low_M, np.minimum(low_M + 1, len(x_ND) - 1), weight_M)


def _between(x_ND: np.ndarray, low_M: np.ndarray, high_M: np.ndarray, weight_M: np.ndarray) -> np.ndarray:
    high_M = np.where(
        weight_M == 0, low_M, high_M
    )  # so that an exact hit does not touch a neighbour that may be missing
    weight = weight_M.reshape(-1, *[1] * (x_ND.ndim - 1))
    low = x_ND[low_M].astype(np.float64)
    return (low + weight * (x_ND[high_M] - low)).astype(x_ND.dtype)
