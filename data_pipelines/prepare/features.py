"""Speech features for stage 1, [M, width] at motion frames, of a wav2vec2 or HuBERT model in a local folder.

The model runs in a program of its own (`workers/speech_features.py`, in any Python with torch and transformers; `worker.Worker`):
it gets sound at 16 kHz and gives a row every 20 ms. Row r stands for [20 r, 20 r + 20) ms; a motion frame takes the mean of the
rows that begin in it, and the last row is repeated where the convolutions of the model leave the end uncovered.
"""
import dataclasses
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from data_pipelines.prepare import extractors
from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.worker import WorkerError
from jamflow_jax.errors import ConfigError
from jamflow_jax.timeline import MOTION_FPS, SAMPLE_RATE, mel_frames, motion_frames

RATE, ROWS = 16_000, 50  # samples a second that go in, rows a second that come out


@dataclasses.dataclass(frozen=True)
class Features:
    """Which model, run by which Python.

    Attributes:
      folder: config.json and weights, as transformers saves them; nothing is downloaded.
      layer: hidden state to take, 0 the embeddings, -1 the last.
      python: of an environment with torch and transformers.
      version: as the program states it; filled in by `ready`.
    """

    folder: str
    layer: int = -1
    python: str = sys.executable
    version: str = ""

    def ready(self) -> "Features":
        """Starts the program once. Raises ConfigError, in one line, where it cannot run."""
        if not (Path(self.folder) / "config.json").exists():
            raise ConfigError(f"--speech-features {self.folder}: no model there (config.json is missing); nothing is downloaded")
        try:
            hello = extractors.running(self.command).hello
        except WorkerError as error:
            wanted = "it needs a Python with torch and transformers (--speech-python)"
            raise ConfigError(f"the speech features do not run: {error}; {wanted}") from None
        return dataclasses.replace(self, version=f"{hello['name']} {hello.get('version', '')}")

    @property
    def command(self) -> tuple[str, ...]:
        """The program."""
        return (self.python, str(extractors.WORKERS / "speech_features.py"), self.folder, str(self.layer))

    def of(self, audio_N: Float[np.ndarray, "N"]) -> Float32[np.ndarray, "M S"]:
        """Of one clip at 24 kHz. Raises Rejected."""
        import soxr

        sound_N = soxr.resample(audio_N.astype(np.float32), SAMPLE_RATE, RATE)
        try:
            worker = extractors.running(self.command)
            rows_RS = worker.ask(np.asarray(sound_N, np.float32))
        except WorkerError as error:
            extractors.drop(self.command)
            raise Rejected("bad speech features", f"the speech features failed: {error}") from None
        return at_motion_frames(rows_RS, motion_frames(mel_frames(len(audio_N))))


def at_motion_frames(rows_RS: Float[np.ndarray, "R S"], frames: int) -> Float32[np.ndarray, "M S"]:
    """The mean of the rows of every motion frame."""
    each = ROWS // MOTION_FPS
    rows_RS = np.asarray(rows_RS, np.float32)[np.minimum(np.arange(frames * each), len(rows_RS) - 1)]
    return rows_RS.reshape(frames, each, -1).mean(1)
