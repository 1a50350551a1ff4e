"""Where a long text is cut."""
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.text.pieces import split


def test_sentences_then_clauses_then_words_then_letters():
    assert split("One is here. Two is there. Three!", 28) == ["One is here. Two is there. ", "Three!"]
    assert split("A first clause, and then a second one", 20) == ["A first clause, ", "and then a second one"]
    assert split("Six. Six. Six. ", 4) == ["Six. ", "Six. ", "Six. "]
    assert split("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert split("First. and a long tail of words here", 30) == ["First. and a long tail of ", "words here"]  # too short a piece


@pytest.mark.parametrize(
    "text", ["\u4f60\u597d\u3002" * 9, "word " * 40, "No end of it " * 9 + "\u00fc" * 50, "One. Two. " * 11 + "x"]
)
@pytest.mark.parametrize("most", [7, 30])
def test_pieces_are_the_text_and_fit(text, most):
    pieces = split(text, most)
    assert "".join(pieces) == text
    assert max(len(piece.rstrip().encode()) for piece in pieces[:-1]) <= most
    assert len(pieces[-1].rstrip().encode()) <= most * 7 / 6 + 1
    assert all(piece.strip() for piece in pieces)


def test_a_text_that_fits_stays_whole_and_an_empty_one_is_refused():
    assert split("Hello there.", 100) == ["Hello there."]
    with pytest.raises(InputError, match="empty"):
        split("  ", 10)
    with pytest.raises(InputError, match="4"):
        split("hello", 3)
