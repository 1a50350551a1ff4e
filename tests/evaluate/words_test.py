from jamflow_jax.evaluate.words import character_errors, edits, normalise, word_errors


def test_edits_are_the_fewest():
    assert edits("kitten", "sitting") == 3 and edits("", "abc") == 3 and edits("abc", "") == 3 and edits("", "") == 0
    assert edits("abcdef", "bcdefa") == 2 and edits("aaaa", "aa") == 2 and edits([1, 2, 3], [3, 2, 1]) == 2


def test_word_and_character_errors_of_hand_made_texts():
    assert word_errors("bin blue at f two now", "bin blue at s two now") == (1, 6)
    assert word_errors("the cat sat", "the sat") == (1, 3) and word_errors("the sat", "the cat sat") == (1, 2)
    assert word_errors("a b", "x y z") == (3, 2), "more than all of them may be wrong"
    assert character_errors("a bc", "abd") == (1, 3)


def test_case_and_punctuation_do_not_count():
    assert normalise("It's 2 o'clock, José!") == ["its", "2", "oclock", "josé"]
    assert word_errors("Well-known.", "well known") == (0, 2)
