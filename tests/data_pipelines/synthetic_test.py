import numpy as np
import pytest

from data_pipelines.prepare import synthetic, visemes
from jamflow_jax import timeline
from jamflow_jax.errors import InputError

MOUTH = [3 * k + axis for k in (14, 17, 19, 20) for axis in range(3)]


@pytest.fixture(scope="module")
def examples():
    return list(synthetic.generate(minutes=1.5, seed=1, workers=2))


def test_two_runs_give_identical_bytes_for_any_number_of_workers(examples):
    again = synthetic.generate(minutes=0.4, seed=1, workers=1)
    for a, b in zip(examples, again):
        assert a.audio.tobytes() == b.audio.tobytes() and a.motion.tobytes() == b.motion.tobytes()
        assert (a.id, a.text, a.speaker, a.split, a.extra) == (b.id, b.text, b.speaker, b.split, b.extra)


def test_clips_last_two_to_four_seconds_and_as_long_as_asked(examples):
    seconds = [len(e.audio) / timeline.SAMPLE_RATE for e in examples]
    assert 90 <= sum(seconds) < 95 and min(seconds) >= 2 and max(seconds) <= 4
    for e in examples:
        assert e.audio.dtype == e.motion.dtype == np.float32 and abs(e.audio).max() <= 1
        assert e.motion.shape == (timeline.motion_frames(timeline.mel_frames(len(e.audio))), 63)
        assert np.isfinite(e.audio).all() and np.isfinite(e.motion).all()
        assert 0.05 < e.audio.std() < 0.2


def test_every_voice_in_every_split_and_no_sentence_in_two(examples):
    assert len({e.id for e in examples}) == len({e.text for e in examples}) == len(examples)
    for split in ("train", "validation", "test"):
        assert {e.speaker for e in examples if e.split == split} == {v.name for v in synthetic.VOICES}


def test_motion_is_the_truth_of_its_phonemes_plus_little(examples):
    voices = {v.name: v for v in synthetic.VOICES}
    for e in examples:
        truth_MD = synthetic.truth(e.extra["phonemes"], len(e.motion), voices[e.speaker])
        assert abs(e.motion - truth_MD)[:, MOUTH].max() < 1e-3
        assert not e.motion[:, 14 * 3 + 2].any()
        assert all(visemes.known(label) for _, _, label in e.extra["phonemes"])


def test_sizes_are_those_of_liveportrait(examples):
    std_KA = np.concatenate([e.motion for e in examples]).std(0).reshape(21, 3)
    mouth = std_KA[[14, 17, 19, 20]].max(1)
    assert (4e-3 < mouth).all() and (mouth < 2.4e-2).all() and np.argmax(std_KA) == 19 * 3 + 1
    assert 1e-5 < std_KA[6].max() < 1e-4 and 1e-3 < std_KA[11].max() < 1e-2


def test_words_and_phonemes_lie_inside_the_clip_and_sound(examples):
    for e in examples[:6]:
        spans = e.extra["words"]
        assert " ".join(word for _, _, word in spans).replace(",", "") == e.text.strip(".?").replace(",", "")
        assert all(0 < start < end <= len(e.audio) / timeline.SAMPLE_RATE + 1e-6 for start, end, _ in spans)
        before = e.audio[: int(e.extra["phonemes"][0][0] * timeline.SAMPLE_RATE) - 100]
        assert before.std() < 1e-3 < e.audio.std()


def test_bad_arguments():
    with pytest.raises(InputError, match="minutes"):
        next(synthetic.generate(minutes=0))
    with pytest.raises(InputError, match="voices"):
        next(synthetic.generate(voices=()))
