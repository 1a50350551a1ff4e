"""Sound files: mono 16-bit PCM, and the silence that keeps a sound in step with a motion template."""
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jamflow_jax.timeline import MOTION_FPS, SAMPLE_RATE

TEMPLATE_SILENCE = SAMPLE_RATE // MOTION_FPS  # samples: 40 ms, one motion frame


def write_wav(path: str | Path, audio_N: Float[np.ndarray, "N"], rate: int = SAMPLE_RATE) -> None:
    """Writes samples in [-1, 1] at `rate` Hz; louder ones are scaled down as a whole instead of being clipped.

    Raises:
      ValueError: samples that are not finite.
    """
    import soundfile

    audio_N = np.asarray(audio_N, np.float32)
    if not np.isfinite(audio_N).all():
        raise ValueError("the sound has samples that are not finite")
    peak = float(np.abs(audio_N).max(initial=0.0))
    soundfile.write(str(path), audio_N / max(peak, 1.0), rate, subtype="PCM_16", format="WAV")


def for_template(audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N2"]:
    """The sound behind one motion frame (40 ms) of silence: a template has a neutral frame before the first spoken one."""
    return np.concatenate([np.zeros(TEMPLATE_SILENCE, np.float32), np.asarray(audio_N, np.float32)])
