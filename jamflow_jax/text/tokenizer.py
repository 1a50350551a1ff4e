"""Text to ids, by F5-TTS's conventions: a vocabulary file, one token a line, entry 0 a space that unknown tokens fall back to.

    kind      tokens                                   ids
    char      characters                               lines of vocab.txt
    pinyin    characters and syllables (pinyin.py)     lines of vocab.txt
    byte      UTF-8 bytes                              0 ... 255, no vocabulary

Ids count from 0 and padding is -1; the model adds one, so that its embedding has vocab_size + 1 rows.
"""
import dataclasses
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from jamflow_jax.errors import InputError
from jamflow_jax.text.pinyin import pinyin_tokens

KINDS = ("char", "pinyin", "byte")
PADDING = -1


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """How a data set or a checkpoint spells text.

    Raises:
      InputError: an unknown kind, or a vocabulary that is empty, does not begin with a space, or holds an entry twice, an empty one
        or one with a line end.
    """

    kind: Literal["char", "pinyin", "byte"]
    vocab: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "vocab", tuple(self.vocab))
        _check(self.kind, self.vocab)

    @property
    def vocab_size(self) -> int:
        """Number of ids; F5-TTS's text_num_embeds."""
        return 256 if self.kind == "byte" else len(self.vocab)

    def tokens(self, text: str) -> list[str]:
        """The tokens of `text`, known or not; for kind "byte" its characters."""
        _encodable(text)
        return pinyin_tokens(text) if self.kind == "pinyin" else list(text)

    def encode(self, text: str) -> Int[np.ndarray, "N"]:
        """int32 ids of `text`; unknown tokens give 0, as in F5-TTS. Raises InputError if `text` is not valid Unicode."""
        if self.kind == "byte":
            return np.frombuffer(_encodable(text), np.uint8).astype(np.int32)
        return np.array([self._ids.get(token, 0) for token in self.tokens(text)], np.int32)

    def unknown(self, text: str) -> set[str]:
        """The tokens of `text` that the vocabulary lacks."""
        return set() if self.kind == "byte" else set(self.tokens(text)) - self._ids.keys()

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.vocab)}

    @classmethod
    def from_texts(cls, texts: Iterable[str], kind: str = "char") -> "Tokenizer":
        """The sorted tokens of `texts` behind a space. Line ends, which a vocabulary cannot hold, are left to read as spaces."""
        if kind == "byte":
            return cls(kind)
        spell = cls(kind, (" ",))
        found = set().union(*(spell.tokens(text) for text in texts)) - {" ", "\n", "\r"}
        return cls(kind, (" ", *sorted(found)))

    @classmethod
    def from_file(cls, path: str | os.PathLike, kind: str = "pinyin") -> "Tokenizer":
        """Reads vocab.txt (LF or CRLF); for kind "byte" nothing is read. Raises InputError, naming file and line."""
        if kind == "byte":
            return cls(kind)
        lines = read_vocabulary(path)
        try:
            return cls(kind, tuple(lines))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def to_file(self, path: str | os.PathLike) -> None:
        """Writes vocab.txt with LF ends; empty for kind "byte"."""
        Path(path).write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of vocab.txt."""
        return "".join(f"{token}\n" for token in self.vocab).encode()


def read_vocabulary(path: str | os.PathLike) -> list[str]:
    """The lines of a vocabulary file (LF or CRLF). Raises InputError if it cannot be read or is not UTF-8."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot read the vocabulary: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    # Only line ends go: strip() would lose the space, splitlines() would also cut at U+2028 and its kin.
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def pad_text(ids_N: Int[np.ndarray, "N"], length: int) -> Int[np.ndarray, "length"]:
    """`ids_N` cut to `length` or padded with -1; the model wants one id per mel frame at most."""
    padded = np.full(length, PADDING, np.int32)
    padded[: len(ids_N)] = ids_N[:length]
    return padded


def _encodable(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"text holds half a surrogate pair at character {error.start}; it is not valid Unicode") from None


def _check(kind: str, vocab: tuple[str, ...]) -> None:
    if kind not in KINDS:
        raise InputError(f"tokenizer kind {kind!r} is not one of {', '.join(KINDS)}")
    if kind == "byte":
        if vocab:
            raise InputError("a byte tokenizer has no vocabulary")
        return
    if not vocab:
        raise InputError("the vocabulary is empty")
    if vocab[0] != " ":
        raise InputError(f"vocabulary line 1 is {vocab[0]!r}; it must be a space, which unknown characters fall back to")
    first: dict[str, int] = {}
    for line, token in enumerate(vocab, 1):
        if not token or "\n" in token or "\r" in token:
            raise InputError(f"vocabulary line {line} is {token!r}; an entry is neither empty nor has line ends")
        if first.setdefault(token, line) != line:
            raise InputError(f"vocabulary line {line} repeats {token!r} of line {first[token]}")
