"""Sound: log-mel as F5-TTS has it, and back by Vocos or Griffin-Lim."""
