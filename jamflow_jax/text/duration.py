"""How long a text will take to say, in mel frames (93.75 a second), counted in UTF-8 bytes as F5-TTS does.

    with a reference       R + int(R / r * g / speed)                                                                (1)
    without                ceil(93.75 * g / (rate * speed))                                                          (2)

R mel frames of reference sound whose text has r bytes; g bytes to say. Texts under 10 bytes are said at speed 0.3, whatever
was asked, because a word alone takes its time. Both are at least one frame more than the reference and than the tokens, one of
which fits in a frame. Bytes rather than characters: a Chinese character (three bytes) takes about as long as three letters.
Source: infer_batch_process in F5-TTS's infer/utils_infer.py, CFM.sample in model/cfm.py.
"""
import math

from jamflow_jax.errors import InputError
from jamflow_jax.timeline import HOP, SAMPLE_RATE

DEFAULT_RATE = 15.0  # UTF-8 bytes a second: the 8 LJ Speech clips of shared/data have 13.0 to 17.6, 15.4 on average
SHORT_TEXT = 10  # bytes
SHORT_TEXT_SPEED = 0.3


def reference_text(text: str) -> str:
    """`text` closed as F5-TTS's command line closes it before the new text follows: ". " unless it ends so or in "。".

    A text that ends in a one-byte character, as ". " does, then gets one more space. Raises InputError if nothing is said.
    """
    if not text.strip():
        raise InputError("the reference text is empty; write what the reference sound says")
    if not text.endswith((". ", "。")):
        text += " " if text.endswith(".") else ". "
    return text + " " if text[-1].isascii() else text


def f5_duration(reference_frames: int, reference_text: str, text: str, *, speed: float = 1.0, tokens: int = 0) -> int:
    """Equation 1: mel frames of reference and new speech together.

    Args:
      reference_frames: R. F5-TTS's inference takes samples // 256 here, its evaluation the mel frames, one more.
      reference_text: what the reference says, as the model will read it (see `reference_text`).
      text: what is to be said after it.
      speed: 2 halves the time of the new speech.
      tokens: number of text ids of both texts, if known.

    Raises:
      InputError: an empty text, no reference frames, or a speed that is not positive.
    """
    if reference_frames < 1:
        raise InputError(f"the reference has {reference_frames} mel frames; it needs at least 1")
    if not reference_text:
        raise InputError("the reference text is empty; write what the reference sound says")
    new = int(reference_frames / len(reference_text.encode()) * _bytes(text) / _speed(text, speed))
    return max(reference_frames + new, max(tokens, reference_frames) + 1)


def spoken_duration(text: str, rate: float = DEFAULT_RATE, *, speed: float = 1.0, tokens: int = 0) -> int:
    """Equation 2: mel frames of `text` said at `rate` UTF-8 bytes a second.

    Raises:
      InputError: an empty text, or a rate or speed that is not positive.
    """
    if not 0 < rate < math.inf:
        raise InputError(f"speaking rate is {rate}; it must be a positive number of UTF-8 bytes a second")
    frames = math.ceil(SAMPLE_RATE / HOP * _bytes(text) / (rate * _speed(text, speed)))
    return max(frames, tokens + 1)


def _bytes(text: str) -> int:
    if not text.strip():
        raise InputError("the text to say is empty")
    return len(text.encode())


def _speed(text: str, speed: float) -> float:
    if not 0 < speed < math.inf:
        raise InputError(f"speed is {speed}; it must be a positive number")
    return SHORT_TEXT_SPEED if _bytes(text) < SHORT_TEXT else speed
