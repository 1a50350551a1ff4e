"""Clips of any length: one request cut into pieces, each a window of its own whose known spans are the end of the one before.

    window k of a request with pieces [a_k, b_k):

        | reference | [a_k - o, a_k) | [a_k, b_k) | [b_k, b_k + ahead) |
          known       known: made      the piece    made and thrown away
                      before

The reference (the request's first `prefix` frames) stands in front of every window. `o` is the whole piece before where there is
text, so that the text of the known frames is known exactly, and a fixed time elsewhere; `ahead` lets the end of a piece hear what
is given beyond it. The last FADE frames of the known span are made twice and cross-faded: a weak model jumps where its knowledge
ends. Whatever the task, a window is nothing but a `Request`; the model's memory is that of one window.
"""
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from jamflow_jax.errors import InputError
from jamflow_jax.flow.generate import Request, Result, SampleConfig, generate
from jamflow_jax.flow.requests import Row, check
from jamflow_jax.flow.states import ABSENT, GENERATED
from jamflow_jax.model.config import JamFlowConfig
from jamflow_jax.timeline import CROP_MEL, motion_frames

OVERLAP = 150  # mel frames, 1.6 s: known in front of a piece without text
FADE = 30  # mel frames, 0.32 s: at the end of a piece, made by two windows; a multiple of 15
AHEAD = 60  # mel frames, 0.64 s: made behind it, twice the reach of the joint layers' windows


@dataclasses.dataclass(frozen=True, eq=False)
class Pieces:
    """Where a request is cut; mel frames."""

    ends: tuple[int, ...]  # of each piece; all but the last multiples of 15, where mel and motion frames meet
    prefix: int = 0  # of the reference, a multiple of 15
    prefix_text: Int[np.ndarray, "N"] | None = None  # what the reference says
    texts: tuple[Int[np.ndarray, "N"], ...] | None = None  # what each piece says
    overlap: int = OVERLAP  # where there are no texts
    ahead: int = AHEAD

    @classmethod
    def even(cls, length: int, window: int, prefix: int = 0) -> "Pieces":
        """Pieces of a request of `length` frames without text, so that a window without its reference is about `window` frames."""
        step = max(CROP_MEL, (window - OVERLAP - AHEAD) // CROP_MEL * CROP_MEL)
        return cls((*range(prefix + step, length, step), length), prefix)

    @classmethod
    def of_texts(cls, length: int, texts: Sequence[Int[np.ndarray, "N"]], weights: Sequence[float], prefix: int = 0,
                 prefix_text: Int[np.ndarray, "N"] | None = None) -> "Pieces":  # fmt: skip
        """A piece for each text, as long as its share of the weights (bytes, say)."""
        share = np.cumsum(weights) / np.sum(weights)
        ends = [prefix + round(part * (length - prefix) / CROP_MEL) * CROP_MEL for part in share[:-1]]
        return cls((*ends, length), prefix, prefix_text, tuple(texts))


def stream(
    config: JamFlowConfig, params: Mapping[str, Any], request: Request, pieces: Pieces, sample: SampleConfig
) -> Iterator[Result]:
    """Generates a request piece by piece; what is yielded, put together, is the request without its reference.

    Args:
      config, params, sample: as for `generate`.
      request: of the whole length. Its text is not looked at: the pieces have their own.
      pieces: where to cut.

    Raises:
      InputError: an impossible request, or pieces off the 0.16 s grid or out of order.
    """
    cuts = (pieces.prefix, *pieces.ends)
    if any(a >= b for a, b in zip(cuts, cuts[1:])) or any(cut % CROP_MEL for cut in cuts[:-1]) or cuts[-1] != request.length:
        raise InputError(f"pieces {cuts}: they must rise in steps of {CROP_MEL} mel frames and end at {request.length}")
    spoken = pieces.texts[0] if pieces.texts else None
    row = check(config, dataclasses.replace(request, text_ids=spoken))
    front = Result(None, None)
    for index, (start, end) in enumerate(zip(cuts, cuts[1:])):
        overlap = min(start - pieces.prefix, pieces.overlap) if not pieces.texts else start - cuts[max(0, index - 1)]
        behind = end if pieces.texts else min(request.length, end + pieces.ahead)
        back = min(FADE, start - cuts[max(0, index - 1)])
        window = _window(row, pieces, index, start - overlap, start, behind, back, front)
        open_spans = (
            row.audio_state != ABSENT and not row.mel_known_T[start:end].all(),
            row.motion_state != ABSENT and not row.mouth_known_M[motion_frames(start) : motion_frames(end)].all(),
        )
        made = generate(config, params, [window], sample)[0] if any(open_spans) else Result(window.mel, window.mouth)
        lead = pieces.prefix + overlap
        last = end == request.length
        mel, front.mel = _join(front.mel, _part(made.mel, window.mel, lead - back, lead + end - start), back)
        mouth, front.mouth = _join(
            front.mouth, _part(made.mouth, window.mouth, motion_frames(lead - back), motion_frames(lead + end - start)),
            motion_frames(back))
        held = 0 if last else min(FADE, end - start)  # not yielded yet: the next window has a say in them
        mel, mouth = _but_last(mel, held), _but_last(mouth, motion_frames(held))
        front = Result(_tail(front.mel, pieces, end - start), _tail(front.mouth, pieces, motion_frames(end) - motion_frames(start)))
        yield Result(mel if request.want_audio else None, mouth if request.want_motion else None)


def _window(row: Row, pieces: Pieces, index: int, first: int, start: int, end: int, fade: int, front: Result) -> Request:
    """The request of the window over [first, end), of which `front` has made [first, start); the last `fade` of them are open."""
    request = row.request

    def stretch(values, known, state, prefix, first, start, end, fade, made):
        if state == ABSENT:
            return None, None
        overlap = start - first
        values = np.concatenate([values[:prefix], values[first:end]])
        known = np.concatenate([known[:prefix], known[first:end]])
        if overlap:
            given = known[prefix + overlap - fade : prefix + overlap].copy()
            values[prefix : prefix + overlap], known[prefix : prefix + overlap] = made[len(made) - overlap :], True
            known[prefix + overlap - fade : prefix + overlap] = given
        return values, known

    marks = pieces.prefix, first, start, end, fade
    mel, mel_known = stretch(row.mel_TF, row.mel_known_T, row.audio_state, *marks, front.mel)
    motion_marks = [motion_frames(mark) for mark in marks]
    mouth, mouth_known = stretch(row.mouth_MD, row.mouth_known_M, row.motion_state, *motion_marks, front.mouth)

    def whole(values):
        return None if values is None else np.concatenate([values[: motion_marks[0]], values[motion_marks[1] : motion_marks[3]]])

    text = None
    if pieces.texts:
        lead = [] if pieces.prefix_text is None else [pieces.prefix_text]
        text = np.concatenate([*lead, *pieces.texts[max(0, index - (first < start)) : index + 1]])
    return Request(
        length=pieces.prefix + end - first, text_ids=text, seed=request.seed + index,
        want_audio=request.want_audio or row.audio_state == GENERATED, want_motion=request.want_motion,
        mel=mel, mel_known=mel_known, mouth=mouth, mouth_known=mouth_known,
        rest=whole(request.rest), speech=whole(request.speech),
    )  # fmt: skip


def _part(made, given, start, end):
    """Frames of a stream that was made, or of one that was given."""
    values = given if made is None else made
    return None if values is None else values[start:end]


def _join(before, new, back: int):
    """(`new`, its first `back` frames mixed with the last of `before`; both in one)."""
    if new is None or before is None or not back:
        return new, new
    weight = (np.arange(back, dtype=np.float32)[:, None] + 1) / (back + 1)
    old = before[-back:]  # where both are given, both are equal: the sum below is exact there
    new = np.concatenate([old + weight * (new[:back] - old), new[back:]])
    return new, np.concatenate([before[:-back], new])


def _but_last(values, held: int):
    return values if values is None or not held else values[:-held]


def _tail(values, pieces: Pieces, piece: int):
    """What the next window may take as known: the piece, or as much as the overlap can reach."""
    return None if values is None else values[-max(piece, 0 if pieces.texts else pieces.overlap) :]
