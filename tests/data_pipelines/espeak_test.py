import hashlib
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines.prepare import espeak
from jamflow_jax.errors import InputError

TEXT = "my brother put the map by the pool."


@pytest.mark.parametrize("voice", ["en-us", "en-us+f2", "gmw/en-GB-scotland+m7"])  # f2 is breathy: noise from a seeded generator
def test_equal_bytes_whatever_was_spoken_before(voice):
    first = espeak.speak(TEXT, voice)
    espeak.speak("something else.", "en-us+f2", rate=200)
    again = espeak.speak(TEXT, voice)
    assert first.samples_N.tobytes() == again.samples_N.tobytes()
    assert first.phonemes == again.phonemes and first.words == again.words


def test_equal_bytes_in_another_process():
    code = (
        "import sys, hashlib; from data_pipelines.prepare import espeak;"
        "print(hashlib.sha256(espeak.speak(sys.argv[1], 'en-us+f2').samples_N.tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", code, TEXT]
    there = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    here = hashlib.sha256(espeak.speak(TEXT, "en-us+f2").samples_N.tobytes()).hexdigest()
    assert there == {here + "\n"}


def test_phonemes_tile_the_utterance_and_words_are_the_text():
    speech = espeak.speak(TEXT)
    assert speech.sample_rate == 22050 and speech.samples_N.dtype == np.int16
    starts, ends = [p[0] for p in speech.phonemes], [p[1] for p in speech.phonemes]
    assert starts[0] == 0 and ends[:-1] == starts[1:] and ends[-1] == len(speech.samples_N) / 22050
    assert [word for _, _, word in speech.words] == "my brother put the map by the pool".split()
    assert all(start < end for start, end, _ in speech.words)


def test_a_voiceless_plosive_begins_with_its_closure():
    speech = espeak.speak(TEXT)
    start, end, _ = next(p for p in speech.phonemes if p[2].strip("ˈˌ") == "p" and p[0] > 0.3)
    first = speech.samples_N[round(start * 22050) : round(start * 22050) + 300]
    assert not first.any(), "the closure is silent"
    assert speech.samples_N[round(start * 22050) : round(end * 22050)].any(), "and the burst belongs to it"


def test_unknown_voice_and_nothing_to_say():
    with pytest.raises(InputError, match="no such voice"):
        espeak.speak(TEXT, "xx-nowhere")
    with pytest.raises(InputError, match="nothing to say"):
        espeak.speak("   ")
