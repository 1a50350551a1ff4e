"""Expected tokens are what F5-TTS's own convert_char_to_pinyin (of May 2026) gave for these texts."""
import pytest

from jamflow_jax.text.pinyin import pinyin_tokens


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        ("Hello, world", list("Hello, world")),
        ("say; “yes” or ‘no’", list("say, \"yes\" or 'no'")),
        ("one,two.Three forty-two (3.14)", list("one, two.Three forty-two ( 3.14)")),
        ("don't: it's", list("don't: it's")),
        ("café naïve", list("café naï ve")),
        ("对，这就是我", [" ", "dui4", "，", " ", "zhe4", " ", "jiu4", " ", "shi4", " ", "wo3"]),
        ("一个不是你好", [" ", "yi2", " ", "ge4", " ", "bu2", " ", "shi4", " ", "ni2", " ", "hao3"]),  # sandhi
        ("重庆银行行长", [" ", "chong2", " ", "qing4", " ", "yin2", " ", "hang2", " ", "hang2", " ", "zhang3"]),  # by word
        ("你好world 3个", [" ", "ni2", " ", "hao3", *" world 3", " ", "ge4"]),
    ],
)
def test_f5_tts_conventions(text, expected):
    assert pinyin_tokens(text) == expected


def test_scripts_without_pinyin_stay_characters():
    assert pinyin_tokens("こんにちは한국어……👍") == list("こんにちは한국어……👍")
