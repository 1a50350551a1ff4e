"""What a user may ask for: text, known spans of speech and motion, a length, and which streams are wanted.

Every task is a choice of known spans. The state of a stream follows from them:

    GIVEN      all of its frames are known
    ABSENT     it is not wanted and none of its frames is known
    GENERATED  otherwise

One exception: text reaches the motion only through the audio stream, so a request for motion with text, without any audio,
generates the audio as well and throws it away.
"""
import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from jamflow_jax.errors import InputError
from jamflow_jax.flow.states import ABSENT, GENERATED, GIVEN, Conditions
from jamflow_jax.model.config import JamFlowConfig
from jamflow_jax.timeline import motion_frames


@dataclasses.dataclass(eq=False)
class Request:
    """One generation, on the host. Arrays may be shorter than the clip: what lies past their end is unknown.

    The clip is `length` mel frames (93.75 a second) and M = motion_frames(length) motion frames (25 a second).
    """

    length: int
    want_audio: bool = True
    want_motion: bool = True
    text_ids: Int[np.ndarray, "N"] | None = None  # 0-based; trailing -1 is padding
    mel: Float[np.ndarray, "T F"] | None = None  # log-mel
    mel_known: Bool[np.ndarray, "T"] | None = None  # None: every frame of `mel`
    mouth: Float[np.ndarray, "M D"] | None = None  # normalised
    mouth_known: Bool[np.ndarray, "M"] | None = None
    rest: Float[np.ndarray, "M R"] | None = None  # normalised; M frames
    speech: Float[np.ndarray, "M S"] | None = None  # stage-1 models only: M frames of speech features
    seed: int = 0


@dataclasses.dataclass(eq=False)
class Result:
    """Streams that were wanted, whole clip, known frames exactly as they were given."""

    mel: Float[np.ndarray, "T F"] | None
    mouth: Float[np.ndarray, "M D"] | None


@dataclasses.dataclass(eq=False)
class Row:
    """A request that has been checked: arrays of the clip's own length, zero (text: empty) where nothing is known."""

    request: Request
    audio_state: int
    motion_state: int
    mel_TF: np.ndarray
    mel_known_T: np.ndarray
    mouth_MD: np.ndarray
    mouth_known_M: np.ndarray
    text_N: np.ndarray
    rest_MR: np.ndarray
    speech_MS: np.ndarray | None
    present: frozenset[str]  # conditions that guidance can tell apart


def check(config: JamFlowConfig, request: Request, where: str = "request") -> Row:
    """Checks a request and works out the states of its streams.

    Raises:
      InputError: it asks for the impossible; the message starts with `where`.
    """

    def refuse(message):
        raise InputError(f"{where}: {message}")

    length = request.length
    if not isinstance(length, (int, np.integer)) or isinstance(length, bool) or length < 1:
        refuse(f"length is {length!r}; it must be a positive number of mel frames")
    if not (request.want_audio or request.want_motion):
        refuse("neither audio nor motion is wanted")
    frames, motion = int(length), motion_frames(int(length))
    mel_TF, mel_known_T = _known(refuse, "mel", request.mel, request.mel_known, frames, config.audio.mel_dim)
    mouth_MD, mouth_known_M = _known(refuse, "mouth", request.mouth, request.mouth_known, motion, config.motion.mouth_dim)
    rest_MR = _whole(refuse, "rest", request.rest, motion, config.motion.rest_dim)
    speech_MS = _whole(refuse, "speech", request.speech, motion, config.motion.speech_dim)
    text_N = _text(refuse, request.text_ids, config.audio.text_vocab)

    motion_state = _state(request.want_motion, mouth_known_M)
    spoken = request.want_motion and text_N.size > 0  # the exception above
    audio_state = _state(request.want_audio or spoken, mel_known_T)
    if GENERATED not in (audio_state, motion_state):
        refuse("every frame is known already; nothing is left to generate")
    if motion_state == ABSENT and request.rest is not None:
        refuse("rest is given, but motion is neither wanted nor known")

    has = {
        # The text of given audio is heard through that audio alone: one level with it.
        "text": text_N.size > 0 and audio_state == GENERATED,
        "audio": mel_known_T.any() or request.speech is not None,
        "motion": mouth_known_M.any(),
        "rest": request.rest is not None,
    }
    return Row(
        request, audio_state, motion_state, mel_TF, mel_known_T, mouth_MD, mouth_known_M, text_N[:frames], rest_MR,
        speech_MS if config.motion.speech_dim else None, frozenset(name for name, there in has.items() if there),
    )


def conditions(rows: Sequence[Row], frames: int) -> Conditions:
    """The rows as one batch (NumPy), padded to `frames` mel frames; the text is padded with -1."""
    motion = motion_frames(frames)

    def column(values, size, fill=0):
        return np.stack([_pad(value, size, fill) for value in values])

    return Conditions(
        audio_state_B=np.array([row.audio_state for row in rows], np.int32),
        motion_state_B=np.array([row.motion_state for row in rows], np.int32),
        audio_context_BTF=column([row.mel_TF for row in rows], frames),
        motion_context_BMD=column([row.mouth_MD for row in rows], motion),
        text_BN=column([row.text_N for row in rows], frames, -1),
        drop_text_B=np.zeros(len(rows), bool),
        rest_BMR=column([row.rest_MR for row in rows], motion),
        length_B=np.array([row.request.length for row in rows], np.int32),
        speech_BMS=None if rows[0].speech_MS is None else column([row.speech_MS for row in rows], motion),
    )


def _pad(values, size, fill=0):
    """`values` with `fill` appended along the first axis up to `size`."""
    return np.pad(values, [(0, size - len(values))] + [(0, 0)] * (values.ndim - 1), constant_values=fill)


def _state(wanted, known):
    if known.all():
        return GIVEN
    return GENERATED if wanted or known.any() else ABSENT


def _known(refuse, name, values, known, frames, width):
    """Known frames of a stream, zero elsewhere, and the mask of them, both `frames` long."""
    if values is None:
        if known is not None and np.any(known):
            refuse(f"{name}_known marks frames as known, but {name} is missing")
        return np.zeros((frames, width), np.float32), np.zeros(frames, bool)
    values = np.asarray(values, np.float32)
    if values.ndim != 2 or values.shape[1] != width:
        refuse(f"{name} has shape {values.shape}; this model needs [frames, {width}]")
    known = np.ones(len(values), bool) if known is None else np.asarray(known, bool)
    if known.ndim != 1 or np.any(known[len(values):]):
        refuse(f"{name}_known has shape {known.shape}, {name} has {len(values)} frames")
    if np.any(known[frames:]):
        refuse(f"{name} is known past the end: frame {np.flatnonzero(known)[-1]} of {frames}")
    known = _pad(known[: min(frames, len(values))], frames)
    values = np.where(known[:, None], _pad(values[:frames], frames), 0).astype(np.float32)
    if not np.isfinite(values).all():
        refuse(f"{name} has known frames that are not finite")
    return values, known


def _whole(refuse, name, values, frames, width):
    """A condition that comes for every motion frame or not at all."""
    if values is None:
        return np.zeros((frames, width), np.float32)
    values = np.asarray(values, np.float32)
    if values.shape != (frames, width):
        refuse(f"{name} has shape {values.shape}; this request and model need {(frames, width)}")
    if not np.isfinite(values).all():
        refuse(f"{name} is not finite")
    return values


def _text(refuse, ids, vocab):
    """Ids without their padding."""
    ids = np.zeros(0, np.int32) if ids is None else np.asarray(ids)
    if ids.ndim != 1 or not (ids.size == 0 or np.issubdtype(ids.dtype, np.integer)):
        refuse(f"text_ids must be one row of integers, not {ids.dtype} of shape {ids.shape}")
    there = np.flatnonzero(ids != -1)
    ids = ids[: there[-1] + 1 if there.size else 0].astype(np.int32)
    if np.any((ids < 0) | (ids >= vocab)):
        refuse(f"text_ids run from {ids.min()} to {ids.max()}; this model knows 0 to {vocab - 1}")
    return ids
