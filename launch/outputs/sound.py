"""What makes sound of a mel: Vocos where there are weights of one, else Griffin-Lim, which needs none and sounds metallic."""
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

GRIFFIN_LIM = "griffin-lim"
Vocoder = Callable[[np.ndarray, int], np.ndarray]  # (log-mel [T, 100], seed) -> samples at 24 kHz


def choose(named: str | None, model: str | Path) -> tuple[str, Vocoder]:
    """The vocoder that is named: a file or "griffin-lim"; else the model's own; else Griffin-Lim. With it a word on which it is.

    Raises:
      InputError: a file that is no Vocos.
    """
    from jamflow_jax import storage
    from jamflow_jax.audio.windows import windowed
    from jamflow_jax.train.bundle import VOCODER

    own = storage.at(model) / VOCODER
    path = named or (str(own) if storage.exists(own) else GRIFFIN_LIM)
    if path == GRIFFIN_LIM:
        hint = "" if named else " (the model has no vocoder; --vocoder FILE names a Vocos)"
        return f"Griffin-Lim{hint}", windowed(griffin_lim)
    from jamflow_jax.audio.vocoder import decode
    from jamflow_jax.torch_io import vocos

    with storage.local(path) as file:
        decoder = functools.partial(decode, vocos.load(file))
    return f"Vocos, {path}", windowed(lambda mel_TF, seed: decoder(mel_TF))


def griffin_lim(mel_TF: np.ndarray, seed: int) -> np.ndarray:
    from jamflow_jax.audio import griffin_lim

    return griffin_lim.griffin_lim(mel_TF, seed=seed)
