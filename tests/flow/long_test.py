"""Pieces of a long request: what each window knows, what is put together, what does not grow."""
import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.flow import long
from jamflow_jax.flow.generate import Request, Result, SampleConfig
from jamflow_jax.model import AudioConfig, JamFlowConfig, MotionConfig
from jamflow_jax.timeline import motion_frames

CONFIG = JamFlowConfig(AudioConfig(mel_dim=2, text_vocab=90), MotionConfig(mouth_dim=2, rest_dim=1))
LENGTH, PREFIX = 700, 30
M = motion_frames(LENGTH)


@pytest.fixture
def windows(monkeypatch):
    """Every request that the sampler is given; it answers with what is known and, elsewhere, the place in the window."""
    asked = []

    def generate(config, params, requests, sample):
        (request,) = requests
        asked.append(request)

        def fill(values, known, frames, width):
            made = np.repeat(np.arange(frames, dtype=np.float32)[:, None] + 1000 * len(asked), width, axis=1)
            return made if values is None else np.where(known[:, None], values, made)

        return [Result(fill(request.mel, request.mel_known, request.length, 2) if request.want_audio else None,
                       fill(request.mouth, request.mouth_known, motion_frames(request.length), 2) if request.want_motion else None)]

    monkeypatch.setattr(long, "generate", generate)
    return asked


def run(request, pieces):
    made = list(long.stream(CONFIG, {}, request, pieces, SampleConfig(steps=1)))
    return [None if getattr(made[0], name) is None else np.concatenate([getattr(part, name) for part in made])
            for name in ("mel", "mouth")]


def test_texts_have_the_piece_before_as_their_known_span(windows):
    reference = np.full((PREFIX, 2), 7.0, np.float32)
    texts = [np.arange(n * 10, n * 10 + 5) for n in range(4)]
    pieces = long.Pieces.of_texts(LENGTH, texts, [1, 2, 1, 1], PREFIX, np.array([80, 81]))
    assert all(end % 15 == 0 for end in pieces.ends[:-1]) and pieces.ends[-1] == LENGTH
    mel, mouth = run(Request(LENGTH, mel=reference, text_ids=np.concatenate(texts), seed=5), pieces)
    assert mel.shape == (LENGTH - PREFIX, 2) and mouth.shape == (M - motion_frames(PREFIX), 2)
    starts = (PREFIX, *pieces.ends)
    for k, window in enumerate(windows):
        assert window.seed == 5 + k
        overlap = 0 if k == 0 else starts[k] - starts[k - 1]
        assert window.length == PREFIX + overlap + starts[k + 1] - starts[k]
        overlap -= min(overlap, long.FADE)  # what is known; the rest is made anew and cross-faded
        assert window.mel_known.sum() == PREFIX + overlap and window.mel_known[: PREFIX + overlap].all()
        assert window.mouth_known.sum() == motion_frames(overlap) and not window.mouth_known[: motion_frames(PREFIX)].any()
        np.testing.assert_array_equal(window.mel[:PREFIX], reference)
        np.testing.assert_array_equal(window.text_ids, np.concatenate([[80, 81], *texts[max(0, k - 1) : k + 1]]))
        if k:  # what was made before, where it was made
            np.testing.assert_array_equal(window.mel[PREFIX : PREFIX + overlap], mel[starts[k - 1] - PREFIX :][:overlap])
            m, first, start = (motion_frames(frames) for frames in (PREFIX, starts[k - 1], starts[k] - long.FADE))
            np.testing.assert_array_equal(window.mouth[m : m + start - first], mouth[first - m : start - m])


def test_given_speech_is_cut_to_each_window_and_a_little_beyond(windows):
    given = np.arange(LENGTH * 2, dtype=np.float32).reshape(LENGTH, 2)
    rest = np.arange(M, dtype=np.float32)[:, None]
    pieces = long.Pieces.even(LENGTH, 330)
    assert pieces.ends == (120, 240, 360, 480, 600, 700)
    mel, mouth = run(Request(LENGTH, want_audio=False, mel=given, rest=rest), pieces)
    assert mel is None and mouth.shape == (M, 2)
    for k, window in enumerate(windows):
        start, first = 120 * k, max(0, 120 * k - long.OVERLAP)
        end = min(LENGTH, 120 * k + 120 + long.AHEAD)
        np.testing.assert_array_equal(window.mel, given[first:end])
        np.testing.assert_array_equal(window.rest, rest[motion_frames(first) : motion_frames(end)])
        start -= min(start, long.FADE)
        assert window.mel_known.all() and window.mouth_known.sum() == motion_frames(start - first)
        np.testing.assert_array_equal(window.mouth[window.mouth_known], mouth[motion_frames(first) : motion_frames(start)])


def test_an_edit_generates_only_the_pieces_with_holes(windows):
    given, known = np.ones((LENGTH, 2), np.float32), np.ones(LENGTH, bool)
    known[250:260] = False
    mel, mouth = run(Request(LENGTH, want_motion=False, mel=given, mel_known=known), long.Pieces.even(LENGTH, 330))
    assert len(windows) == 1 and mouth is None
    np.testing.assert_array_equal(mel[known], given[known])
    assert (mel[~known] > 1000).all()


def test_text_speaks_through_audio_even_if_only_motion_is_wanted(windows):
    texts = [np.arange(5), np.arange(5)]
    mel, _ = run(Request(300, want_audio=False, text_ids=np.arange(10)), long.Pieces.of_texts(300, texts, [1, 1]))
    assert mel is None and windows[1].want_audio and windows[1].mel_known[: 150 - long.FADE].all()


def test_windows_are_cross_faded_where_they_meet(windows):
    """The fake windows make 1000 k + place: the step from one to the next is spread over the frames made twice."""
    mel, mouth = run(Request(480, text_ids=np.arange(2)), long.Pieces.of_texts(480, [np.arange(1)] * 2, [1, 1]))
    for values, frames in ((mel, long.FADE), (mouth, motion_frames(long.FADE))):
        assert np.abs(np.diff(values[:, 0])).max() < 1.1 * 1000 / (frames + 1) + 1


@pytest.mark.parametrize("ends", [(120, 110, 700), (100, 700), (120, 600), (0, 700)])
def test_impossible_cuts_are_refused(windows, ends):
    with pytest.raises(InputError, match="pieces"):
        run(Request(LENGTH, want_motion=False), long.Pieces(ends))


def test_what_is_kept_does_not_grow(windows):
    given = np.zeros((60 * LENGTH, 2), np.float32)
    run(Request(len(given), want_audio=False, mel=given), long.Pieces.even(len(given), 330))
    assert {window.length for window in windows[2:-2]} == {120 + long.OVERLAP + long.AHEAD}
