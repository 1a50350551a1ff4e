"""What a recogniser hears in a sound: any callable from samples to text, so that word errors do not hang on one of them.

    pocketsphinx      offline, small (pip install 'jamflow-jax[evaluate]'); with a grammar (JSGF) where the corpus has one
    a folder          a Whisper in Hugging Face's layout, read from disk by `transformers`; nothing is downloaded

pocketsphinx without a grammar hears little of free speech: use it for corpora such as GRID, whose grammar comes along
(grammars/grid.jsgf), and compare with the row of the truth, never with published rates of other recognisers.
"""
import dataclasses
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.words import normalise
from jamflow_jax.timeline import SAMPLE_RATE

GRAMMARS = Path(__file__).parent / "grammars"
RATE = 16_000  # Hz, of both recognisers
SPHINX = "pocketsphinx"


class Recogniser(Protocol):
    """Anything that hears words."""

    name: str  # for tables: which one, with what grammar

    def __call__(self, audio_N: Float[np.ndarray, "N"]) -> str:
        """The text heard in samples at 24 kHz; "" for nothing."""


def load(named: str, grammar: str | None = None) -> Recogniser:
    """The recogniser called `named`: "pocketsphinx", or the folder of a Whisper.

    Args:
      grammar: a JSGF file, or the name of one that comes along ("grid"); pocketsphinx only.

    Raises:
      InputError: it is not installed, not there or not one; the message says what to do.
    """
    if named == SPHINX:
        return PocketSphinx(None if grammar is None else grammar_file(grammar))
    if grammar is not None:
        raise InputError(f"--grammar is for {SPHINX}; leave it out with the recogniser {named}")
    return Whisper.load(named)


def grammar_file(named: str) -> Path:
    """The JSGF file of that name, or that comes along under it. Raises InputError."""
    shipped = {path.stem: path for path in sorted(GRAMMARS.glob("*.jsgf"))}
    path = shipped.get(named, Path(named))
    if not path.is_file():
        raise InputError(f"no grammar {named}: a JSGF file, or one of {', '.join(shipped)}")
    return path


def grammar_of(texts: list[str]) -> str | None:
    """The shipped grammar that all texts are sentences of, if there is one."""
    for path in sorted(GRAMMARS.glob("*.jsgf")):
        slots = [set(words.split("|")) for words in re.findall(r"<\w+> = ([^;<]+);", path.read_text())]
        slots = [{word.strip() for word in slot} for slot in slots]
        sentences = [normalise(text) for text in texts]
        if texts and all(len(s) == len(slots) and all(w in slot for w, slot in zip(s, slots)) for s in sentences):
            return path.stem
    return None


class PocketSphinx:
    """CMU Sphinx with its own American English model, 16 kHz; one utterance at a time, the same each time."""

    def __init__(self, grammar: Path | None = None):
        try:
            import pocketsphinx
        except ImportError:
            raise InputError(
                "pocketsphinx is not installed: pip install 'jamflow-jax[evaluate]', or name the folder of a Whisper with "
                "--recogniser, or leave word errors out with --recogniser none"
            ) from None
        self.name = SPHINX + (f" with the grammar {grammar.stem}" if grammar else ", no grammar")
        source = {"jsgf": str(grammar), "lm": None} if grammar else {}
        try:
            self._decoder = pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL", **source)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{grammar}: pocketsphinx cannot use it ({error}); are all words in its dictionary?") from None

    def __call__(self, audio_N: Float[np.ndarray, "N"]) -> str:
        pcm = np.clip(np.round(resampled(audio_N) * 32767), -32768, 32767).astype("<i2")
        self._decoder.reinit_feat()  # cepstral means start afresh: a clip is heard as if it were the first
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return "" if found is None else re.sub(r"\(\d+\)", "", found.hypstr)


@dataclasses.dataclass(frozen=True)
class Whisper:
    """A Whisper of `transformers`, greedy."""

    name: str
    processor: Any
    model: Any
    language: str | None = None

    @classmethod
    def load(cls, folder: str) -> "Whisper":
        """Reads a folder with config.json, weights and tokenizer. Raises InputError."""
        if not (Path(folder) / "config.json").is_file():
            raise InputError(f"{folder}: no recogniser: {SPHINX}, none, or the folder of a Whisper (config.json is missing there)")
        needs("transformers", "torch", what=f"the recogniser {folder}")
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        try:
            processor = WhisperProcessor.from_pretrained(folder, local_files_only=True)
            model = WhisperForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{folder}: not a Whisper that transformers can read: {error}") from None
        return cls(f"Whisper, {Path(folder).name}", processor, model)

    def __call__(self, audio_N: Float[np.ndarray, "N"]) -> str:
        import torch

        features = self.processor(resampled(audio_N), sampling_rate=RATE, return_tensors="pt").input_features
        with torch.no_grad():
            ids = self.model.generate(features, do_sample=False, num_beams=1)
        return self.processor.batch_decode(ids, skip_special_tokens=True)[0].strip()


def resampled(audio_N: Float[np.ndarray, "N"]) -> Float[np.ndarray, "K"]:
    """Samples at 24 kHz as samples at 16 kHz."""
    import soxr

    return soxr.resample(np.asarray(audio_N, np.float32), SAMPLE_RATE, RATE)


def needs(*modules: str, what: str) -> None:
    """Raises InputError unless the modules are installed."""
    missing = [name for name in modules if not installed(name)]
    if missing:
        raise InputError(f"{what} needs {' and '.join(missing)}: pip install 'jamflow-jax[speech]'")


@functools.cache
def installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None
