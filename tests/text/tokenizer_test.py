import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.text.tokenizer import Tokenizer, pad_text


def test_characters_count_from_zero_and_unknown_ones_read_as_space():
    tokenizer = Tokenizer("char", (" ", "a", "b"))
    ids = tokenizer.encode("ab ?é")
    assert ids.tolist() == [1, 2, 0, 0, 0] and ids.dtype == np.int32
    assert tokenizer.unknown("ab ?é") == {"?", "é"}
    assert tokenizer.vocab_size == 3


def test_pinyin_looks_syllables_up():
    tokenizer = Tokenizer("pinyin", (" ", "dui4", "，", "o", "k"))
    assert tokenizer.encode("对，ok").tolist() == [0, 1, 2, 0, 3, 4]
    assert tokenizer.unknown("对，no") == {"n"}


def test_bytes_need_no_vocabulary():
    tokenizer = Tokenizer("byte")
    assert tokenizer.encode("aé").tolist() == [97, 0xC3, 0xA9]
    assert tokenizer.vocab_size == 256 and tokenizer.unknown("aé") == set()
    assert Tokenizer.from_texts(["x"], "byte") == tokenizer


@pytest.mark.parametrize("kind", ["char", "pinyin", "byte"])
def test_no_text_is_no_ids(kind):
    ids = Tokenizer(kind, () if kind == "byte" else (" ",)).encode("")
    assert ids.shape == (0,) and ids.dtype == np.int32


def test_from_texts_puts_the_space_first_and_leaves_line_ends_out():
    assert Tokenizer.from_texts(["b\ta", "a\r\nc"]).vocab == (" ", "\t", "a", "b", "c")
    assert Tokenizer.from_texts(["对; a"], "pinyin").vocab == (" ", ",", "a", "dui4")
    assert Tokenizer.from_texts([]).vocab == (" ",)


@pytest.mark.parametrize("raw", [" \nb\na\n", " \r\nb\r\na\r\n", " \nb\na", "\ufeff \nb\na\n"], ids=["LF", "CRLF", "open", "BOM"])
def test_a_file_loses_its_line_ends_only(tmp_path, raw):
    path = tmp_path / "vocab.txt"
    path.write_bytes(raw.encode())
    assert Tokenizer.from_file(path, "char").vocab == (" ", "b", "a")


@pytest.mark.parametrize(
    "tokenizer", [Tokenizer("char", (" ", "\t", "\u2028", "\x85", "é")), Tokenizer("pinyin", (" ", "a1")), Tokenizer("byte")]
)
def test_files_round_trip_even_with_odd_spaces(tmp_path, tokenizer):
    tokenizer.to_file(tmp_path / "vocab.txt")
    assert Tokenizer.from_file(tmp_path / "vocab.txt", tokenizer.kind) == tokenizer


@pytest.mark.parametrize(
    "raw, message",
    [
        (b"", "vocab.txt: the vocabulary is empty"),
        (b"a\nb\n", "line 1 is 'a'; it must be a space"),
        (b"\n \n", "line 1 is ''"),
        (b" \na\nb\na\n", "line 4 repeats 'a' of line 2"),
        (b" \na\n\nb\n", "line 3 is ''"),
        (b" \n\xff\n", "not UTF-8"),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path, raw, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=message) as error:
        Tokenizer.from_file(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_is_named_in_one_line(tmp_path):
    with pytest.raises(InputError, match="nowhere.txt: cannot read the vocabulary: No such file"):
        Tokenizer.from_file(tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    "kind, vocab, message", [("word", (" ",), "'word' is not one of"), ("byte", (" ",), "has no vocabulary"), ("char", (), "empty")]
)
def test_rejects(kind, vocab, message):
    with pytest.raises(InputError, match=message):
        Tokenizer(kind, vocab)


@pytest.mark.parametrize("tokenizer", [Tokenizer("char", (" ",)), Tokenizer("pinyin", (" ",)), Tokenizer("byte")])
def test_broken_unicode_is_one_line(tokenizer):
    with pytest.raises(InputError, match="character 1"):
        tokenizer.encode("a\ud800")


def test_padding_cuts_or_fills_with_minus_one():
    ids = np.array([5, 6, 7], np.int32)
    assert pad_text(ids, 5).tolist() == [5, 6, 7, -1, -1]
    assert pad_text(ids, 2).tolist() == [5, 6]
    assert pad_text(ids[:0], 2).tolist() == [-1, -1] and pad_text(ids, 5).dtype == np.int32
