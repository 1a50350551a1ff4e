"""Requests longer than `--window`: where they are cut, and their pieces put together again (jamflow_jax/flow/long.py makes them).

A text is cut at sentences, or at words if need be, and each piece lasts its share of the bytes; what has no text is cut evenly.
"""
import numpy as np

from jamflow_jax.errors import ConfigError
from jamflow_jax.flow import long
from jamflow_jax.flow.generate import Result
from jamflow_jax.timeline import CROP_MEL, CROP_MOTION, HOP, SAMPLE_RATE
from launch.ask import Question

SHORTEST, LONGEST = 4.0, 120.0  # seconds of a window


def window_frames(seconds: float) -> int:
    """`--window` in mel frames. Raises ConfigError."""
    if not SHORTEST <= seconds <= LONGEST:
        raise ConfigError(f"--window is {seconds:g}; between {SHORTEST:g} and {LONGEST:g} seconds can be generated in one go")
    return int(seconds * SAMPLE_RATE) // HOP


def cut(question: Question, tokenizer, window: int) -> long.Pieces | None:
    """Where a question is cut so that it fits windows of `window` mel frames, its reference not counted; None: it fits as it is."""
    request, ask = question.request, question.ask
    if question.length <= window:
        return None
    if request.text_ids is None:
        return long.Pieces.even(request.length, window, question.prefix)
    from jamflow_jax.text.duration import reference_text
    from jamflow_jax.text.pieces import split

    # a window with text holds two pieces, the one that is made and the one before it
    texts = split(ask.text, max(4, len(ask.text.encode()) * window // (2 * question.length)))
    prefix_text = tokenizer.encode(reference_text(ask.ref_text)) if ask.ref_text is not None else None
    ids, weights = [tokenizer.encode(text) for text in texts], [len(text.encode()) for text in texts]
    return long.Pieces.of_texts(request.length, ids, weights, question.prefix, prefix_text)


def whole(model, question: Question, pieces: long.Pieces, config) -> Result:
    """What `generate` would give if the request were not too long for it."""
    made = list(long.stream(model.config.model, model.params, question.request, pieces, config))
    prefix = question.prefix
    reference = [question.request.mel[:prefix]] if prefix else []
    mel = None if made[0].mel is None else np.concatenate([*reference, *(result.mel for result in made)])
    if made[0].mouth is None:
        return Result(mel, None)
    lead = np.zeros((prefix * CROP_MOTION // CROP_MEL, made[0].mouth.shape[1]), np.float32)  # `finish` cuts it off
    return Result(mel, np.concatenate([lead, *(result.mouth for result in made)]))
