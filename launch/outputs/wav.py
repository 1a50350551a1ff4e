"""Sound files: mono 16-bit PCM, and the silence that keeps a sound in step with a motion template."""
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jamflow_jax.timeline import MOTION_FPS, SAMPLE_RATE
from launch.outputs import provenance

TEMPLATE_SILENCE = SAMPLE_RATE // MOTION_FPS  # samples: 40 ms, one motion frame


def write_wav(path: str | Path, audio_N: Float[np.ndarray, "N"], rate: int = SAMPLE_RATE, mark: str | None = None) -> None:
    """Writes samples in [-1, 1] at `rate` Hz; louder ones are scaled down as a whole instead of being clipped.

    `mark` says in the file's metadata that the sound was generated (provenance.py).

    Raises:
      ValueError: samples that are not finite.
    """
    import soundfile

    audio_N = np.asarray(audio_N, np.float32)
    if not np.isfinite(audio_N).all():
        raise ValueError("the sound has samples that are not finite")
    peak = float(np.abs(audio_N).max(initial=0.0))
    with soundfile.SoundFile(str(path), "w", rate, 1, subtype="PCM_16", format="WAV") as file:
        if mark is not None:
            file.comment, file.software = mark, provenance.SOFTWARE
        file.write(audio_N / max(peak, 1.0))


def for_template(audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N2"]:
    """The sound behind one motion frame (40 ms) of silence: a template has a neutral frame before the first spoken one."""
    return np.concatenate([np.zeros(TEMPLATE_SILENCE, np.float32), np.asarray(audio_N, np.float32)])
