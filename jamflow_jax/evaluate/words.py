"""Word and character errors: the fewest edits that make one text of another.

    errors = min over edit paths of insertions + deletions + substitutions    (Levenshtein 1966)
    WER = sum over clips of errors / sum of reference words;   CER the same over characters, spaces left out             (1)

Texts are compared in lower case, without punctuation, accents kept: "It's 2 o'clock." and "its 2 oclock" are equal.
"""
import unicodedata
from collections.abc import Sequence

import numpy as np


def normalise(text: str) -> list[str]:
    """The words of a text as they are compared."""
    kept = "".join(c if c.isspace() or unicodedata.category(c)[0] in "LMN" else "" if c in "'’" else " " for c in text.lower())
    return kept.split()


def edits(reference: Sequence, hypothesis: Sequence) -> int:
    """Insertions, deletions and substitutions between two sequences."""
    ids = {item: i for i, item in enumerate(dict.fromkeys([*reference, *hypothesis]))}
    goal_N = np.array([ids[item] for item in hypothesis], np.int64)
    place = np.arange(len(goal_N) + 1)
    cost = place.copy()
    for i, item in enumerate(reference, 1):
        best = np.concatenate([[i], np.minimum(cost[1:] + 1, cost[:-1] + (goal_N != ids[item]))])
        cost = np.minimum.accumulate(best - place) + place  # insertions, from left to right
    return int(cost[-1])


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """(errors, words of the reference), for equation 1."""
    words = normalise(reference)
    return edits(words, normalise(hypothesis)), len(words)


def character_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """(errors, characters of the reference), for equation 1."""
    characters = "".join(normalise(reference))
    return edits(characters, "".join(normalise(hypothesis))), len(characters)
