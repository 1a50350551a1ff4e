"""The directory of a run holds all that later commands need: no data set, no config file.

    config.json       the RunConfig, every field        checkpoints/   Orbax, by step
    dataset.json      motion space, tokenizer kind      metrics.jsonl  losses; speed.jsonl; tb/
    vocab.txt, statistics.json

Files are written whole or not at all.
"""
import json
import os
from collections.abc import Callable
from pathlib import Path

from jamflow_jax.config import build, to_dict
from jamflow_jax.errors import InputError
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.train.config import RunConfig

FORMAT = 1


def write(workdir: str | Path, config: RunConfig, space: MotionSpace, statistics: Statistics, tokenizer: Tokenizer) -> None:
    """Writes config, motion space, vocabulary and statistics."""
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    about = {"format": FORMAT, "space": space.to_json(), "tokenizer": tokenizer.kind}
    _whole(workdir / "vocab.txt", tokenizer.to_file)
    _whole(workdir / "statistics.json", lambda path: path.write_text(json.dumps(statistics.to_json()) + "\n"))
    _whole(workdir / "dataset.json", lambda path: path.write_text(json.dumps(about, indent=1) + "\n"))
    _whole(workdir / "config.json", lambda path: path.write_text(json.dumps(to_dict(config), indent=1) + "\n"))


def read(workdir: str | Path) -> tuple[RunConfig, MotionSpace, Statistics, Tokenizer]:
    """What `write` wrote.

    Raises:
      InputError: not the directory of a run, or one of its files is not readable; the message names it.
    """
    workdir = Path(workdir)
    about = _json(workdir / "dataset.json")
    try:
        space = MotionSpace.from_json(about["space"])
        statistics = Statistics.from_json(_json(workdir / "statistics.json"))
        tokenizer = Tokenizer.from_file(workdir / "vocab.txt", kind=about["tokenizer"])
    except (KeyError, TypeError, OSError) as error:
        raise InputError(f"{workdir}: dataset.json, vocab.txt or statistics.json is not what a run wrote ({error!r})") from None
    return build(RunConfig, _json(workdir / "config.json")), space, statistics, tokenizer


def _whole(path: Path, write_to: Callable[[Path], object]) -> None:
    partial = path.with_name(path.name + ".partial")
    write_to(partial)
    os.replace(partial, path)


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path.parent}: not the directory of a run ({path.name} is missing)") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
