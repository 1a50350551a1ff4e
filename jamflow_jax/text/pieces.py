"""A long text in pieces that can be said one by one: cut at sentences, else at clauses, else between words, else anywhere."""
import re

from jamflow_jax.errors import InputError

# from the best place to cut behind to the last one that will do; CJK punctuation needs no space
_ENDS = (r"[.!?]['\")\]]*\s+|[。！？]", r"[,;:]\s+|[，；：、]", r"\s+", r"")


def split(text: str, most: int) -> list[str]:
    """Pieces of at most `most` UTF-8 bytes, spaces at their ends not counted, that put together are the text; the last may be a
    sixth longer.

    A piece ends at the last sentence end that leaves it at least a third full, else at the last clause, word or letter.

    Raises:
      InputError: an empty text, or pieces that do not hold a letter (4 bytes).
    """
    if not text.strip():
        raise InputError("the text to say is empty")
    if most < 4:
        raise InputError(f"pieces of {most} bytes; a letter needs up to 4")
    pieces = []
    while len(text.rstrip().encode()) > most:
        fits = len(text.encode()[:most].decode(errors="ignore"))
        while text[fits].isspace():
            fits += 1
        cut = next(cut for cut in (_last(end, text, fits) for end in _ENDS) if cut)
        pieces.append(text[:cut])
        text = text[cut:]
    if pieces and 6 * len(text.strip().encode()) < most:  # too little to be said alone
        return [*pieces[:-1], pieces[-1] + text]
    return [*pieces, text]


def _last(end: str, text: str, fits: int) -> int:
    """Letters in front of the last `end` within the first `fits`, if they are a third of them or more; else 0."""
    cuts = [found.end() for found in re.finditer(end, text[:fits])] if end else [fits]
    return cuts[-1] if cuts and 3 * cuts[-1] >= fits else 0
