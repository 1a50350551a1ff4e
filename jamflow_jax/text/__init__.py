"""Text: F5-TTS vocabularies, tokenizers and durations."""
