import numpy as np

from data_pipelines.prepare import visemes

OPEN, ROUND, SPREAD, TUCK, PRESS = range(5)
TIMES = np.arange(0, 1.2, 0.005)


def say(*labels, length=0.1):
    return [(0.2 + i * length, 0.2 + (i + 1) * length, label) for i, label in enumerate(labels)]


def at(track_N, seconds):
    return track_N[np.argmin(abs(TIMES - seconds))]


def framed(phonemes):
    return [(-1.0, phonemes[0][0], ""), *phonemes, (phonemes[-1][1], 3.0, "")]


def test_bilabials_really_close_between_open_vowels():
    for bilabial in visemes.BILABIALS:
        track_NA = visemes.tracks(framed(say("ɑː", bilabial, "ɑː")), TIMES)
        assert at(track_NA[:, OPEN], 0.35) == 0 and at(track_NA[:, PRESS], 0.35) == 1
        assert at(track_NA[:, OPEN], 0.25) > 0.45
        jaw_N = track_NA @ visemes.DIRECTIONS[:, 19 * 3 + 1]
        assert at(jaw_N, 0.35) < at(jaw_N, 0.02), "pressed further than at rest"


def test_even_the_shortest_bilabial_is_closed_in_a_frame_of_25_fps():
    for offset in np.arange(0, 0.04, 0.004):
        times_M = np.arange(0, 1.2, 0.04) + offset
        phonemes = framed([(0.2, 0.3, "æ"), (0.3, 0.31, "b"), (0.31, 0.5, "æ")])
        assert visemes.tracks(phonemes, times_M)[:, OPEN].min() == 0 and visemes.closure(phonemes, times_M).max() == 1


def test_rounding_is_anticipated():
    two, tea = (visemes.tracks(framed(say("t", vowel)), TIMES) for vowel in ("uː", "iː"))
    assert at(two[:, ROUND], 0.27) > 0.5 > 0.1 > at(tea[:, ROUND], 0.27), "while the t is still being said"
    assert at(tea[:, SPREAD], 0.36) > 0.5 > at(two[:, SPREAD], 0.36)


def test_a_vowel_is_coloured_by_its_neighbours():
    short, long = (
        visemes.tracks(framed([(0.2, 0.3, "t"), (0.3, 0.3 + d, "ɑ"), (0.3 + d, 0.4 + d, "t")]), TIMES)[:, OPEN].max()
        for d in (0.05, 0.25)
    )
    assert short + 0.1 < long <= 1.0


def test_tracks_are_smooth_in_range_and_at_rest_in_silence():
    phonemes = framed(say("f", "aɪ", "v", "p", "ɔ", "n", "iː", "z", "w", "əl", "tʃ", length=0.07))
    track_NA = visemes.tracks(phonemes, TIMES)
    assert np.isfinite(track_NA).all() and track_NA.min() >= 0 and track_NA.max() <= 1
    assert abs(np.diff(track_NA, axis=0)).max() < 0.3, "no jumps within 5 ms"
    np.testing.assert_allclose(visemes.tracks([(0, 3, "")], TIMES), [[0.02, 0, 0, 0, 0]] * len(TIMES), atol=1e-12)
    np.testing.assert_allclose(visemes.tracks([], TIMES), [[0.02, 0, 0, 0, 0]] * len(TIMES), atol=1e-9)


def test_labels():
    assert visemes.known("ˈɔːɹ") and visemes.known("") and not visemes.known("q")
    assert visemes.tracks(framed(say("q")), TIMES).max() <= 1, "an unknown symbol is no error"


def test_idle_movements_leave_the_mouth_alone_but_the_mouth_leaks():
    mouth = [3 * k + axis for k in (14, 17, 19, 20) for axis in range(3)]
    idle_MD = visemes.idle(np.arange(0, 8, 0.04), np.random.default_rng(0))
    assert not idle_MD[:, mouth].any() and idle_MD.std(0).max() > 1e-3
    assert not visemes.DIRECTIONS[:, 14 * 3 + 2].any(), "14z is dead"
    rest = np.delete(visemes.DIRECTIONS, mouth, axis=1)
    assert 0 < abs(rest).max() < 0.1 * abs(visemes.DIRECTIONS).max()
