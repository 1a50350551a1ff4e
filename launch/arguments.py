"""Types of options' arguments: text to value, or one line that says what is needed."""
import argparse
import math
from fractions import Fraction

SLOWEST, FASTEST = 1, 240  # frames a second of a video


def key_value(text: str) -> str:
    """KEY=VALUE, neither of them empty; no - before the key."""
    key, _, value = text.partition("=")
    if not key or not value or key.startswith("-"):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return text


def count(text: str) -> int:
    """A whole number from 0 on."""
    value = _whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError("a count from 0 on is needed")
    return value


def positive_count(text: str) -> int:
    """A whole number from 1 on."""
    value = count(text)
    if not value:
        raise argparse.ArgumentTypeError("a count above 0 is needed")
    return value


def amount(text: str) -> float:
    """A number from 0 on."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError("a number from 0 on is needed")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("a number above 0 is needed")
    return value


def number(text: str) -> float:
    """A number that is finite."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: a number is needed") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError("a finite number is needed")
    return value


def multiplier(text: str) -> float:
    """Of a movement: 0 stands still, below it all is turned around; beyond 10 is a slip."""
    value = number(text)
    if not -10 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text}: -10 to 10 is needed")
    return value


def frame_rate(text: str) -> Fraction:
    """Frames a second, SLOWEST to FASTEST, as in 25, 29.97 or 30000/1001."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not SLOWEST <= value <= FASTEST:
        raise argparse.ArgumentTypeError(f"{text}: frames a second, {SLOWEST} to {FASTEST}, are needed")
    return value


def crf(text: str) -> int:
    """H.264's constant rate factor."""
    value = _whole(text)
    if not 0 <= value <= 51:
        raise argparse.ArgumentTypeError(f"{value}: H.264 has 0 (as it was) to 51 (worst)")
    return value


def box(text: str) -> tuple[float, ...]:
    """LEFT,TOP,RIGHT,BOTTOM."""
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: four numbers: left,top,right,bottom") from None
    return left, top, right, bottom


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: a whole number is needed") from None
