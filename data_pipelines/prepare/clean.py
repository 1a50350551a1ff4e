"""What may be done to a clip between reading and fitting, each by an option, each said in the report.

    trim       silence before and after is cut, but for MARGIN; sound, motion, features and word times together, on motion frames
    loudness   speech is brought to a level: 20 log10(rms of its loud 50 ms windows) = target dB; never beyond a peak of 1
    shortest   seconds; shorter clips are rejected
    words      words (of a language without spaces: characters) a second; clips outside are rejected
    strict     clips whose text has characters outside the vocabulary are rejected, instead of read with a space there

A window is silent when its level is `trim` dB or more under that of the clip's loud windows (the 95th percentile).
"""
import dataclasses
import unicodedata

import numpy as np
from jaxtyping import Float

from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.shards import Example
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.timeline import MOTION_FPS, SAMPLE_RATE

WINDOW = SAMPLE_RATE // 20  # 50 ms
FRAME = SAMPLE_RATE // MOTION_FPS  # 960 samples: one motion frame
MARGIN = 0.12  # seconds of silence that stay at either end
LOUD = 20.0  # dB under the loudest that still count as speech


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """Which of it is done; by default nothing."""

    trim: float | None = None  # dB
    loudness: float | None = None  # dB of full scale
    shortest: float = 0.0  # s
    words: tuple[float, float] | None = None  # a second
    strict: bool = False

    def __call__(self, example: Example, tokenizer: Tokenizer | None = None) -> Example:
        """The clip, cleaned. Raises Rejected."""
        if example.audio is not None and len(example.audio):
            if self.trim is not None:
                example = trimmed(example, self.trim)
            if self.loudness is not None:
                example = levelled(example, self.loudness)
        self._check(example, tokenizer)
        return example

    def _check(self, example: Example, tokenizer: Tokenizer | None) -> None:
        audio, motion = example.audio, example.motion
        seconds = len(audio) / SAMPLE_RATE if audio is not None else len(motion) / MOTION_FPS if motion is not None else 0.0
        if seconds < self.shortest:
            raise Rejected("too short", f"{example.id}: {seconds:.2f} s, under --min-seconds {self.shortest:g}")
        if not example.text:
            return
        if self.words is not None and seconds:
            rate = words(example.text) / seconds
            if not self.words[0] <= rate <= self.words[1]:
                wanted = f"{self.words[0]:g} to {self.words[1]:g} (--words-per-second)"
                raise Rejected("odd transcript", f"{example.id}: {rate:.2f} words a second, outside {wanted}")
        if self.strict and tokenizer and (unknown := tokenizer.unknown(example.text)):
            raise Rejected("odd transcript", f"{example.id}: outside the vocabulary: {' '.join(sorted(unknown))}")


def words(text: str) -> int:
    """Words between spaces; of a script without them (Chinese, Japanese, Korean) every character."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" and letter.isalnum() for letter in text)
    rest = "".join(" " if unicodedata.east_asian_width(letter) in "WF" else letter for letter in text)
    return wide + sum(any(letter.isalnum() for letter in word) for word in rest.split())


def levels(audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "W"]:
    """dB of full scale of every 50 ms; the last window may be shorter."""
    edges = np.arange(0, len(audio_N), WINDOW)
    power = np.add.reduceat(np.square(audio_N, dtype=np.float64), edges) / np.diff([*edges, len(audio_N)])
    return 10 * np.log10(power + 1e-10)


def levelled(example: Example, target: float) -> Example:
    """The clip with its speech at `target` dB, or as near as its peak allows."""
    level_W = levels(example.audio)
    loud = level_W[level_W > level_W.max() - LOUD]
    level = 10 * np.log10(np.mean(10 ** (loud / 10)))
    peak = float(np.abs(example.audio).max())
    if level <= -80 or not peak:
        return example  # silence stays silent
    gain = min(10 ** ((target - level) / 20), 1 / peak)
    note = f"loudness: {20 * np.log10(gain):+.1f} dB"
    audio = (example.audio * np.float32(gain)).astype(np.float32)
    return dataclasses.replace(example, audio=audio, notes=(*example.notes, note))


def trimmed(example: Example, depth: float) -> Example:
    """The clip without the silence at its ends; whole motion frames go, so that everything stays in step."""
    level_W = levels(example.audio)
    speech = np.flatnonzero(level_W > np.percentile(level_W, 95) - depth)
    first = max(0.0, speech[0] * WINDOW / SAMPLE_RATE - MARGIN)
    end = (speech[-1] + 1) * WINDOW / SAMPLE_RATE + MARGIN
    head = int(round(first * MOTION_FPS, 6))
    tail = max(head + 1, int(np.ceil(round(end * MOTION_FPS, 6))))
    if head == 0 and tail * FRAME >= len(example.audio):
        return example
    seconds = (head * FRAME + max(0, len(example.audio) - tail * FRAME)) / SAMPLE_RATE
    extra = {name: _shifted(value, head / MOTION_FPS, (tail - head) / MOTION_FPS) if name in ("words", "phonemes") else value
             for name, value in example.extra.items()}  # fmt: skip
    return dataclasses.replace(
        example, audio=example.audio[head * FRAME : tail * FRAME], extra=extra,
        motion=None if example.motion is None else example.motion[head:tail],
        speech=None if example.speech is None else example.speech[head:tail],
        notes=(*example.notes, f"silence trimmed: {seconds:.2f} s"),
    )  # fmt: skip


def _shifted(spans: list, by: float, seconds: float) -> list:
    moved = [[max(0.0, start - by), min(seconds, end - by), label] for start, end, label in spans]
    return [[round(start, 6), round(end, 6), label] for start, end, label in moved if end > start]
