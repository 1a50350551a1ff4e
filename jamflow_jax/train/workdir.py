"""The directory of a run holds all that later commands need: no data set, no config file.

    config.json       the RunConfig, every field        checkpoints/   Orbax, by step
    dataset.json      motion space, tokenizer kind      metrics.jsonl  losses; speed.jsonl; tb/
    vocab.txt, statistics.json

Files are written whole or not at all. The directory may be an address (jamflow_jax/storage.py).
"""
import json
from pathlib import Path

from jamflow_jax import storage
from jamflow_jax.config import build, to_dict
from jamflow_jax.errors import InputError
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.train.config import RunConfig

FORMAT = 1


def write(workdir: str | Path, config: RunConfig, space: MotionSpace, statistics: Statistics, tokenizer: Tokenizer) -> None:
    """Writes config, motion space, vocabulary and statistics."""
    workdir = storage.at(workdir)
    storage.make(workdir)
    about = {"format": FORMAT, "space": space.to_json(), "tokenizer": tokenizer.kind}
    storage.write(workdir / "vocab.txt", tokenizer.to_bytes())
    storage.write(workdir / "statistics.json", json.dumps(statistics.to_json()) + "\n")
    storage.write(workdir / "dataset.json", json.dumps(about, indent=1) + "\n")
    storage.write(workdir / "config.json", json.dumps(to_dict(config), indent=1) + "\n")


def read(workdir: str | Path) -> tuple[RunConfig, MotionSpace, Statistics, Tokenizer]:
    """What `write` wrote.

    Raises:
      InputError: not the directory of a run, or one of its files is not readable; the message names it.
    """
    workdir = storage.at(workdir)
    about = _json(workdir / "dataset.json")
    try:
        space = MotionSpace.from_json(about["space"])
        statistics = Statistics.from_json(_json(workdir / "statistics.json"))
        with storage.local(workdir / "vocab.txt") as vocabulary:
            tokenizer = Tokenizer.from_file(vocabulary, kind=about["tokenizer"])
    except (KeyError, TypeError, OSError) as error:
        raise InputError(f"{workdir}: dataset.json, vocab.txt or statistics.json is not what a run wrote ({error!r})") from None
    return build(RunConfig, _json(workdir / "config.json")), space, statistics, tokenizer


def _json(path: Path) -> dict:
    try:
        return json.loads(storage.read(path))
    except FileNotFoundError:
        raise InputError(f"{path.parent}: not the directory of a run ({path.name} is missing)") from None
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
