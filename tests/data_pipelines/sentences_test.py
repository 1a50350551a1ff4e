import itertools
import re

from data_pipelines.prepare.sentences import CHARACTERS, sentences


def test_same_seed_same_sentences_and_never_one_twice():
    first, again = (list(itertools.islice(sentences(3), 600)) for _ in range(2))
    assert first == again
    assert len(set(first)) == 600
    assert first != list(itertools.islice(sentences(4), 600))


def test_spelling_is_plain_and_articles_agree():
    for sentence in itertools.islice(sentences(0), 600):
        assert set(sentence) <= set(CHARACTERS)
        assert sentence[-1] in ".?"
        assert 4 <= len(sentence.split()) <= 18, sentence
        assert not re.search(r"\ba [aeio]", sentence), sentence
        assert not re.search(r"\ban [^aeio]", sentence), sentence


def test_bilabials_are_frequent():
    text = " ".join(itertools.islice(sentences(0), 200))
    letters = [c for c in text if c.isalpha()]
    assert sum(c in "pbm" for c in letters) / len(letters) > 0.08
