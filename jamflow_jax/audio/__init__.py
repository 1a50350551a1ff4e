"""Sound: log-mel as F5-TTS has it, and Griffin-Lim."""
