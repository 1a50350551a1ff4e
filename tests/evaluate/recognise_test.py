import builtins

import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate import recognise


def test_what_is_not_installed_is_said_in_one_line(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "pocketsphinx":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'jamflow-jax\[evaluate\]'.*--recogniser none"):
        recognise.load("pocketsphinx")


def test_bad_names(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="config.json is missing there"):
        recognise.load(str(tmp_path))
    with pytest.raises(InputError, match="--grammar is for pocketsphinx"):
        recognise.load(str(tmp_path), "grid")
    with pytest.raises(InputError, match="no grammar klingon.*grid"):
        recognise.load("pocketsphinx", "klingon")
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(recognise, "installed", lambda name: name != "transformers")
    with pytest.raises(InputError, match=r"needs transformers: pip install 'jamflow-jax\[speech\]'"):
        recognise.load(str(tmp_path))


def test_a_corpus_is_known_by_its_sentences():
    assert recognise.grammar_of(["bin blue at f two now", "Place red with z nine soon."]) == "grid"
    assert recognise.grammar_of(["bin blue at w two now"]) is None, "GRID has no w"
    assert recognise.grammar_of(["bin blue at f two now", "hello"]) is None and recognise.grammar_of([]) is None


def test_real_speech_is_heard(real_data):
    pytest.importorskip("pocketsphinx")
    import soundfile

    hear = recognise.load("pocketsphinx", "grid")
    audio, rate = soundfile.read(real_data / "grid_s1" / "audio" / "bbaf2n.flac", dtype="float32")
    assert rate == 24_000
    first = hear(audio)
    assert first.split()[:3] == ["bin", "blue", "at"] and first.split()[4:] == ["two", "now"]
    assert hear(audio) == first, "an utterance is heard as if it were the first"
