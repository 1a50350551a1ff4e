"""Text to F5-TTS's tokens: characters, with Chinese spoken out as pinyin syllables that carry their tone ("ni3").

F5-TTS's checkpoints learnt the habits of its converter, so they are kept here to the letter:
- ";" reads ","; curly quotes read straight.
- jieba cuts the text into pieces. A plain ASCII piece longer than one character gets a space before it, unless it opens the text
  or a space or one of  : ' "  comes before: "one,two" reads "one, two", and "(two)" reads "( two)".
- A piece of three-byte characters only (Chinese) is spoken as a whole, so that words settle the tones and sandhi applies; in a
  mixed piece each character is spoken alone. Each Chinese character is a space and its syllable.
- What pypinyin cannot speak stays a character.

Source: convert_char_to_pinyin in F5-TTS's model/utils.py.
"""
import functools
from collections.abc import Callable

_READ_AS = str.maketrans({";": ",", "“": '"', "”": '"', "‘": "'", "’": "'"})
_NO_SPACE_AFTER = (" ", ":", "'", '"')


def pinyin_tokens(text: str) -> list[str]:
    """The tokens of `text`: single characters and pinyin syllables, " " before each syllable."""
    cut, speak = _engines()
    tokens: list[str] = []
    for piece in cut(text.translate(_READ_AS)):
        width = len(piece.encode())
        if width == len(piece):
            if tokens and width > 1 and tokens[-1] not in _NO_SPACE_AFTER:
                tokens.append(" ")
            tokens.extend(piece)
            continue
        spoken = speak(piece) if width == 3 * len(piece) else [speak(c)[0] if _chinese(c) else c for c in piece]
        for character, syllable in zip(piece, spoken, strict=True):
            tokens.extend((" ", syllable) if _chinese(character) else (syllable,))
    return tokens


def _chinese(character: str) -> bool:
    return "\u3100" <= character <= "\u9fff"


@functools.cache
def _engines() -> tuple[Callable[[str], list[str]], Callable[[str], list[str]]]:
    # Both load dictionaries (about a second): only where pinyin is asked for.
    import pypinyin
    import rjieba

    # errors=list: one entry for each character without pinyin too; by default neighbours merge and the count is off.
    speak = functools.partial(pypinyin.lazy_pinyin, style=pypinyin.Style.TONE3, tone_sandhi=True, errors=list)
    return rjieba.cut, speak
