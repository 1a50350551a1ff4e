"""How alike two voices are: the cosine of two embeddings by any callable from samples to a vector.

    a folder   a WavLM with an x-vector head in Hugging Face's layout, read from disk by `transformers`; the measure of published
               SIM figures (theirs is a fine-tuned WavLM-large)
    "mfcc"     without weights: mean and standard deviation of c_1 ... c_12 over the louder frames, standardised over the training
               clips. It hears channel and timbre, tells two synthetic voices apart, and is *not* comparable with published figures

With one speaker in the data the standardised means say how clips differ, not speakers: "mfcc" is then near 0 for other clips.
"""
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.mfcc import mfcc
from jamflow_jax.evaluate.recognise import RATE, needs, resampled

MFCC = "mfcc"
_LOUD = 4.0  # nats of energy: frames down to 17 dB under the loudest count


class Embedder(Protocol):
    """Anything that makes a vector of a voice."""

    name: str

    def __call__(self, audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "E"]:
        """The embedding of samples at 24 kHz."""


def similarity(x_E: Float[np.ndarray, "E"], y_E: Float[np.ndarray, "E"]) -> float:
    """Cosine in [-1, 1]; 0 when one of them is 0."""
    scale = np.linalg.norm(x_E) * np.linalg.norm(y_E)
    return float(x_E @ y_E / scale) if scale > 0 else 0.0


def load(named: str, training: Iterable[Float[np.ndarray, "N"]]) -> Embedder:
    """"mfcc", fitted to training sounds at 24 kHz, or the folder of an x-vector model. Raises InputError."""
    return MfccStatistics.fit(training) if named == MFCC else XVector.load(named)


@dataclasses.dataclass(frozen=True)
class MfccStatistics:
    """Mean and deviation of MFCCs, standardised."""

    mean_E: np.ndarray
    std_E: np.ndarray
    name: str = "MFCC mean and deviation"

    @classmethod
    def fit(cls, sounds: Iterable[Float[np.ndarray, "N"]]) -> "MfccStatistics":
        """Raises InputError without a sound."""
        raw_CE = np.array([_statistics(audio_N) for audio_N in sounds])
        if not len(raw_CE):
            raise InputError("a voice similarity needs at least one training clip with sound")
        return cls(raw_CE.mean(0), np.maximum(raw_CE.std(0), 1e-3))

    def __call__(self, audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "24"]:
        return (_statistics(audio_N) - self.mean_E) / self.std_E


@dataclasses.dataclass(frozen=True)
class XVector:
    """WavLMForXVector of `transformers`."""

    name: str
    extractor: Any
    model: Any

    @classmethod
    def load(cls, folder: str) -> "XVector":
        """Reads a folder with config.json, preprocessor_config.json and weights. Raises InputError."""
        if not (Path(folder) / "config.json").is_file():
            raise InputError(f"{folder}: no embedder: {MFCC}, or the folder of a WavLM x-vector model (no config.json there)")
        needs("transformers", "torch", what=f"the embedder {folder}")
        from transformers import AutoFeatureExtractor, WavLMForXVector

        try:
            extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
            model = WavLMForXVector.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{folder}: not a WavLM x-vector model that transformers can read: {error}") from None
        return cls(f"WavLM x-vector, {Path(folder).name}", extractor, model)

    def __call__(self, audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "E"]:
        import torch

        inputs = self.extractor(resampled(audio_N), sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            return self.model(**inputs).embeddings[0].double().numpy()


def _statistics(audio_N: np.ndarray) -> np.ndarray:
    c_KC = mfcc(resampled(audio_N))
    loud_KC = c_KC[c_KC[:, 0] > c_KC[:, 0].max() - _LOUD][:, 1:]
    return np.concatenate([loud_KC.mean(0), loud_KC.std(0)])
