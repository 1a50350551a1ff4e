"""Where a model's weights came from, and under which licence: it goes along wherever they go.

    origins.json    [{"part": "audio", "source": "F5-TTS, model_1250000.safetensors", "licence": "CC-BY-NC-4.0"}, ...]

A run that starts from weights inherits all that their model had: what is trained together derives from both.
"""
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from jamflow_jax import storage
from jamflow_jax.errors import InputError

FILE = "origins.json"


@dataclasses.dataclass(frozen=True)
class Origin:
    """One foreign part of a model."""

    part: str  # audio, motion or vocoder
    source: str
    licence: str  # an SPDX identifier, or words

    def __str__(self) -> str:
        return f"{self.part}: weights from {self.source}, licence {self.licence}"


def read(directory: str | Path) -> tuple[Origin, ...]:
    """What a model directory says; nothing where all was trained from nothing. Raises InputError if it is not readable."""
    path = storage.at(directory) / FILE
    try:
        return tuple(Origin(**entry) for entry in json.loads(storage.read(path)))
    except FileNotFoundError:
        return ()
    except InputError:  # a store that cannot be reached, for one
        raise
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a list of origins, each with part, source and licence ({error})") from None


def write(directory: str | Path, origins: Iterable[Origin]) -> None:
    """Writes origins.json, whole; without origins there is no file."""
    path, found = storage.at(directory) / FILE, [dataclasses.asdict(origin) for origin in origins]
    if not found:
        storage.drop(path)
        return
    storage.write(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def licence(origins: Iterable[Origin]) -> str:
    """All of them in the words of one: the licence of what derives from them, for a file that stands alone."""
    return "; ".join(f"{origin.licence} ({origin.source})" for origin in origins) or "none (no weights of others)"


def merge(*groups: Iterable[Origin]) -> tuple[Origin, ...]:
    """All of them, each once, in order."""
    return tuple(dict.fromkeys(origin for group in groups for origin in group))
