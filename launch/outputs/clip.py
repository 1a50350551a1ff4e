"""One result in the units a person looks at: sound at 24 kHz, log-mel, motion in the raw units of its space, and who made what."""
import dataclasses

import numpy as np

from jamflow_jax.timeline import HOP, MOTION_FPS, SAMPLE_RATE


@dataclasses.dataclass(frozen=True)
class Curve:
    """One number per motion frame that tells how far the mouth is open."""

    label: str
    values_M: np.ndarray
    truth_M: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Clip:
    """What `jamflow sample` writes. Either stream may be missing; `*_given` marks the frames that were handed in."""

    name: str
    title: str = ""
    audio_N: np.ndarray | None = None  # samples at 24 kHz
    mel_TF: np.ndarray | None = None
    mel_given_T: np.ndarray | None = None  # bool
    motion_MD: np.ndarray | None = None  # raw units of `space`
    motion_given_M: np.ndarray | None = None  # bool
    space: object | None = None  # jamflow_jax.motion.space.MotionSpace
    truth_MD: np.ndarray | None = None  # the motion that belongs to the sound, where it is known
    facts: dict = dataclasses.field(default_factory=dict)  # JSON: the request, seed, settings

    @property
    def seconds(self) -> float:
        """Length of the longer stream."""
        audio = 0.0 if self.mel_TF is None else len(self.mel_TF) * HOP / SAMPLE_RATE
        motion = 0.0 if self.motion_MD is None else len(self.motion_MD) / MOTION_FPS
        return max(audio, motion)


def spans(mask: np.ndarray) -> list[tuple[int, int]]:
    """The runs of True in a boolean vector, as half-open (start, end) pairs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(mask, bool), [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]
