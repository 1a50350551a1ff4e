import json

import numpy as np
import pytest

from jamflow_jax import timeline
from jamflow_jax.errors import InputError
from jamflow_jax.evaluate import mouth, probe
from jamflow_jax.motion import space


def corpus(count, seed, noise=0.0):
    """Clips whose opening is a fixed curve plus a linear function of their own mel, 60 to 80 motion frames."""
    rng = np.random.default_rng(seed)
    clips = []
    for i in range(count):
        frames = int(rng.integers(60, 81))
        mel_TF = 1.6 * rng.normal(size=(timeline.mel_frames_of_motion(frames), 8)) - 5
        heard_M = probe.mel_context(mel_TF, frames, 0)[:, 2]
        common_M = np.sin(np.arange(frames) / 5)
        clips.append(mouth.Clip(f"c{i}", mel_TF, heard_M + common_M + noise * rng.normal(size=frames)))
    return clips


def test_pearson():
    x_M = np.random.default_rng(0).normal(size=50)
    y_M = x_M + np.random.default_rng(1).normal(size=50)
    assert mouth.pearson(x_M, y_M) == pytest.approx(np.corrcoef(x_M, y_M)[0, 1])
    assert mouth.pearson(3 * x_M - 7, x_M) == pytest.approx(1) and mouth.pearson(-x_M, x_M) == pytest.approx(-1)
    assert mouth.pearson(np.full(50, 0.1), x_M) == mouth.pearson(x_M, np.zeros(50)) == 0
    assert mouth.pearson(x_M[:1], x_M[:1]) == 0


def test_mean_curve_averages_those_that_last_and_holds_the_last():
    mean_M = mouth.mean_curve([np.array([1.0, 1, 1]), np.array([3.0, 5, 7, 9, 11])])
    np.testing.assert_allclose(mean_M, [2, 3, 4, 9, 11])
    np.testing.assert_allclose(mouth.hold(mean_M, 7), [2, 3, 4, 9, 11, 11, 11])
    np.testing.assert_allclose(mouth.hold(mean_M, 2), [2, 3])


def test_derangement():
    for count in (2, 3, 7, 50):
        order = mouth.derangement(count, seed=count)
        assert sorted(order) == list(range(count)) and (order != np.arange(count)).all()
    assert (mouth.derangement(9, 1) == mouth.derangement(9, 1)).all()
    with pytest.raises(InputError, match="at least 2"):
        mouth.derangement(1)


def test_the_four_rows_say_what_they_should():
    train, test = corpus(30, 0, 0.05), corpus(12, 1, 0.05)
    table = mouth.score(train, test, [clip.opening_M for clip in test])
    assert tuple(table.raw) == tuple(table.subtracted) == mouth.ROWS
    assert table.interval("model").mean == pytest.approx(1) and table.interval("model", True).mean == pytest.approx(1)
    assert table.interval("ridge", True).mean > 0.7, "a linear truth; not 1, for ridge hears no clock and so cannot follow m"
    assert (table.subtracted["mean curve"] == 0).all() and table.interval("mean curve").mean > 0.5
    assert abs(table.interval("shuffled audio", True).mean) < 0.15 < table.interval("shuffled audio").mean
    assert table.difference("model", "mean curve").low > 0
    assert table.difference("ridge", "model").mean < 0


def test_hearing_nothing_is_seen_after_subtraction():
    train, test = corpus(20, 0), corpus(8, 1)
    mean_M = mouth.mean_curve([clip.opening_M for clip in train])
    rng = np.random.default_rng(0)
    deaf = [mouth.hold(mean_M, len(clip.opening_M)) + 0.1 * rng.normal(size=len(clip.opening_M)) for clip in test]
    table = mouth.score(train, test, deaf)
    assert table.interval("model").mean > 0.4 and abs(table.interval("model", True).mean) < 0.15


def test_printed_forms_have_the_same_four_rows():
    train, test = corpus(10, 0), corpus(4, 1)
    table = mouth.score(train, test, [clip.opening_M for clip in test])
    for form in (table.text(), table.markdown()):
        lines = form.splitlines()
        places = [next(i for i, line in enumerate(lines) if line.strip("| ").startswith(row)) for row in mouth.ROWS]
        assert places == list(range(places[0], places[0] + 4))
        assert "counts as 0" in form
    assert set(json.loads(json.dumps(table.to_json()))["rows"]) == set(mouth.ROWS)


def test_opening_curve_goes_by_the_converter():
    liveportrait = space.get("liveportrait")
    motion_MD = np.zeros((5, 63), np.float32)
    motion_MD[2, 19 * 3 + 1] = 0.05  # the jaw
    assert np.argmax(mouth.opening_curve(motion_MD, liveportrait)) == 2
    lips = space.get("lips")
    np.testing.assert_allclose(mouth.opening_curve(np.array([[1.0, 2.0], [3.0, 4.0]]), lips), [1, 3])


def test_bad_input():
    train, test = corpus(5, 0), corpus(3, 1)
    curves = [clip.opening_M for clip in test]
    with pytest.raises(InputError, match="2 generated curves for 3 clips"):
        mouth.score(train, test, curves[:2])
    with pytest.raises(InputError, match="clip c1"):
        mouth.score(train, test, [curves[0], curves[1][:-1], curves[2]])
    with pytest.raises(InputError, match="at least 2 training clips"):
        mouth.score(train[:1], test, curves)
    with pytest.raises(InputError, match="at least 2 clips"):
        mouth.score(train, test[:1], curves[:1])
    with pytest.raises(InputError, match="at least one training clip"):
        mouth.mean_curve([])
