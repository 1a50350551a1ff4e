"""What the benchmark of long outputs says of a model that goes on well, of one that jumps, and of one that hears nothing."""
from unittest import mock

import numpy as np
import pytest

from benchmarks import long_form
from jamflow_jax.flow import long
from jamflow_jax.flow.requests import Request, Result
from jamflow_jax.model import AudioConfig, JamFlowConfig, MotionConfig
from jamflow_jax.timeline import motion_frames

CONFIG = JamFlowConfig(AudioConfig(mel_dim=20, text_vocab=9), MotionConfig(mouth_dim=20, rest_dim=1))
PIECES, LENGTH = 40, 6_000


def follows(rng, start, frames):
    """A random walk around zero that goes on where it was."""
    steps, x = 0.3 * rng.normal(size=(frames, 20)), np.zeros(20) if start is None else start
    return np.stack([x := 0.95 * x + step for step in steps])


def jumps(rng, start, frames):
    """The same, where the second of two windows takes no notice of the first but for a level far from it."""
    far = 8.0 if start is None or start.mean() < 0 else -8.0
    return far + follows(rng, None, frames)


def hears_nothing(rng, start, frames):
    """Frames each unrelated to every other: nothing jumps, and nothing goes on."""
    return rng.normal(size=(frames, 20))


def faults(model):
    """By stream, of a long output in which `model` makes the frames behind the known ones."""
    rng = np.random.default_rng(0)

    def made(values, known, frames):
        lead = 0 if known is None else int(known.sum())
        new = model(rng, values[lead - 1] if lead else None, frames - lead).astype(np.float32)
        return np.concatenate([values[:lead], new]) if lead else new

    def generate(config, params, requests, sample):
        (r,) = requests
        return [Result(made(r.mel, r.mel_known, r.length), made(r.mouth, r.mouth_known, motion_frames(r.length)))]

    text, seams = np.arange(3), long_form.Seams()
    pieces = long.Pieces.of_texts(LENGTH, [text] * PIECES, [1] * PIECES)
    with mock.patch.object(long, "generate", generate):
        parts = list(seams.stream(CONFIG, {}, Request(LENGTH, text_ids=text), pieces, long.SampleConfig()))
    assert sum(len(part.mel) for part in parts) == LENGTH
    return {name: long_form.faults(seams.steps[name].summary(), seams.overlaps[name].summary()) for name in ("mel", "motion")}


def test_a_model_that_goes_on_where_it_was_has_no_fault():
    assert faults(follows) == {"mel": [], "motion": []}


@pytest.mark.parametrize("model, said", [(jumps, "in a fade"), (hears_nothing, "strangers")])
def test_one_that_does_not_is_found_out(model, said):
    for stream, found in faults(model).items():
        assert any(said in fault for fault in found), (stream, found)


def test_the_steps_into_and_out_of_a_fade_are_its_own():
    steps = long_form.Steps(fade=2)
    for piece in ([0, 0, 0], [3, 3, 3, 9, 9], [9, 9, 10, 10]):
        steps.add(np.array(piece, float)[:, None])
    assert steps.kept["fades"][1].tolist() == [3, 0, 0] and steps.kept["elsewhere"][1].tolist() == [6, 0]
    assert steps.summary()["fades"][-1] == 3 and steps.summary()["elsewhere"][-1] == 6


def test_windows_are_compared_in_the_frames_that_both_have_made():
    """Two frames each: three windows that agree, three that are shifted by 1 against one another, and 9 from seam to seam."""
    for shift in (0.0, 1.0):
        overlap = long_form.Overlap(fade=2)
        overlap.add(np.array([[0.0], [0], [5], [7]]), None)
        for at, fresh in ((5, 14), (14, 23), (23, 32)):
            known = np.array([True, False, False, False, False])
            overlap.add(np.array([0, at, at + 2, fresh, fresh + 2.0])[:, None] + shift * np.array([0, 1, 1, 0, 0])[:, None], known)
        found = overlap.summary()
        np.testing.assert_allclose([found["first"], found["last"]], shift / (9 + shift))
