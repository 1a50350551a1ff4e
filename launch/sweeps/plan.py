"""A sweep file -> its runs: which trainings, which evaluations of each, and what they are called. Nothing is started here.

A file in configs/sweeps/ has one function, `get_sweep()`, that returns the fields of `Sweep` as a dict. A row is a choice of values
that the question compares; every row is run with every seed, so rows with the same seed are paired:

    rows = {"first": {"model.joint_layers": (0, 1)}, "none": {"model.joint_layers": ()}}     names by hand, or a list without:
    rows = [{"evaluate.steps": n} for n in (4, 8, 16)]                                      named by the values, steps=4 ...

A field of a row is one of the config (docs/configuration.md), or `evaluate.OPTION` of `jamflow evaluate`. `evaluate.speech_from`
may name a row above: its training with the same seed then makes the speech of a cascade. A training is named by its config file,
the values set on top of it and the seed: `small_joint_layers=0,1_seed=0`, `small_seed=0`. Rows and sweeps that train alike share
one training, so write the base's own values as {}.
"""
import argparse
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jamflow_jax.config import build, to_dict
from jamflow_jax.errors import ConfigError
from launch import python_files, run_config

EVALUATE = "evaluate."
RUNS = "{runs}/"  # in an evaluation's options: the sweep's own runs/, wherever that is
LONGEST_NAME = 80  # characters; a folder's name may have 255


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure that answers the question; the first one of a sweep orders its table."""

    key: str  # "train.X", "validation.X": last line of metrics.jsonl; else a dotted path in the JSON of the evaluation
    label: str = ""
    better: Literal["higher", "lower", "neither"] = "higher"

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.label or self.key


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """A data set of the embedded corpus, made when it is missing. A shorter one is the beginning of a longer one, split alike."""

    path: str
    minutes: float = 16.0


@dataclasses.dataclass(frozen=True)
class Smallest:
    """The sweep's smallest form (--smallest): fewer rows and seeds, other fixed values."""

    rows: tuple[str, ...] = ()  # names; empty: all
    seeds: tuple[int, ...] = (0, 1)
    fixed: Any = dataclasses.field(default_factory=dict)  # added to the sweep's
    evaluate: Any = dataclasses.field(default_factory=dict)  # added to the sweep's


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What `get_sweep()` returns, and where it came from."""

    question: str
    base: str  # a config file, or the name of one in the package
    rows: Any  # {name: {field: value}}, or [{field: value}]
    metrics: tuple[Metric, ...]
    baseline: str = ""  # the row that others are compared with, seed by seed; empty: the first
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    fixed: Any = dataclasses.field(default_factory=dict)  # {field: value} of every row
    evaluate: Any = None  # {option: value} of `jamflow evaluate` after each training; None: no evaluation
    synthetic: tuple[Synthetic, ...] = ()
    smallest: Smallest = Smallest()
    file: str = ""

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        return Path(self.file).stem

    def named_rows(self) -> dict[str, dict[str, Any]]:
        """Row -> its values, in the order of the file."""
        return dict(self.rows) if isinstance(self.rows, Mapping) else {name_of(row): dict(row) for row in self.rows}

    @property
    def compared_with(self) -> str:
        """The baseline's name."""
        return self.baseline or next(iter(self.named_rows()))


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One `jamflow evaluate` of a finished training: the figures of one row and seed."""

    row: str
    folder: str  # inside the run's evaluation/: a hash of the options, so that sweeps that measure alike share it
    words: tuple[str, ...]  # all options but --model and --out; RUNS stands for DIR/runs/


@dataclasses.dataclass(frozen=True)
class Run:
    """One training and what is measured on it."""

    name: str
    config: str
    overrides: tuple[str, ...]  # "--config.FIELD=VALUE"
    seed: int
    steps: int
    digest: str  # of the whole RunConfig: a run that was made with another one is not this run
    rows: tuple[str, ...]  # that this training belongs to
    evaluations: tuple[Evaluation, ...]


def read(file: str) -> Sweep:
    """The sweep of a file, or of a name in configs/sweeps ("joint_layers").

    Raises:
      ConfigError: no such file, a file that fails, an unknown field or row; the message names the file.
    """
    path = find(file)
    values = python_files.call(path, f"configs.sweeps.{path.stem}", "get_sweep", str(path))
    sweep = build(Sweep, {**values, "file": str(path)}, where=str(path))
    _check(sweep)
    return sweep


def find(file: str) -> Path:
    """A path as it is, else the sweep of that name in the installed package."""
    return python_files.find(file, "configs/sweeps", file)


def smallest(sweep: Sweep) -> Sweep:
    """The smallest form of a sweep, as a sweep."""
    form, rows = sweep.smallest, sweep.named_rows()
    return dataclasses.replace(
        sweep, seeds=form.seeds, rows={name: rows[name] for name in form.rows or rows}, baseline=sweep.compared_with,
        fixed={**sweep.fixed, **form.fixed}, evaluate=None if sweep.evaluate is None else {**sweep.evaluate, **form.evaluate},
    )  # fmt: skip


def part(sweep: Sweep, rows: Sequence[str] = (), seeds: Sequence[int] = ()) -> Sweep:
    """Some rows and seeds of a sweep, as a sweep; its baseline stays, and so do rows that make the speech of others.

    Raises:
      ConfigError: a row or seed that the sweep does not have.
    """
    there = sweep.named_rows()
    for name, known, chosen in (("row", there, rows), ("seed", sweep.seeds, seeds)):
        if bad := [value for value in chosen if value not in known]:
            raise ConfigError(f"{sweep.file}: no {name} {bad[0]!r}; there are {', '.join(map(repr, known))}")
    speakers = [there[name].get(EVALUATE + "speech_from") for name in rows]
    kept = {sweep.compared_with, *rows, *speakers} if rows else set(there)
    return dataclasses.replace(
        sweep, rows={name: values for name, values in there.items() if name in kept}, baseline=sweep.compared_with,
        seeds=tuple(seed for seed in sweep.seeds if seed in seeds or not seeds),
    )  # fmt: skip


def plan(sweep: Sweep) -> list[Run]:
    """All runs, seed by seed, so that a sweep that is cut short has whole comparisons. Every value is checked before this returns.

    Raises:
      ConfigError: an unknown field or option, or a value of the wrong kind; it names the file and the row.
    """
    runs: dict[tuple, Run] = {}
    for seed in sweep.seeds:
        names: dict[str, str] = {}  # row -> its training with this seed
        for row, values in sweep.named_rows().items():
            trained = {field: value for field, value in values.items() if not field.startswith(EVALUATE)}
            fields = {**sweep.fixed, **trained, "seed": seed}
            overrides = tuple(f"{run_config.FLAG}{field}={text(value)}" for field, value in fields.items())
            try:
                config = run_config.load(sweep.base, list(overrides))
            except ConfigError as error:
                raise ConfigError(f"{sweep.file}, row {row!r}: {error}") from None
            key = (seed, digest(to_dict(config)))
            name = name_of({**sweep.fixed, **trained, "seed": seed}, Path(sweep.base).stem)
            run = runs.get(key) or Run(name, sweep.base, overrides, seed, config.steps, key[1], (), ())
            names[row], evaluations = run.name, run.evaluations
            if sweep.evaluate is not None:
                options = {option.removeprefix(EVALUATE): value for option, value in values.items() if option.startswith(EVALUATE)}
                options = {"data": config.data.path, **sweep.evaluate, **options}
                if (speaker := options.get("speech_from")) in sweep.named_rows():
                    if speaker not in names:
                        raise ConfigError(f"{sweep.file}, row {row!r}: the row {speaker!r} of its speech_from must stand above it")
                    options["speech_from"] = RUNS + names[speaker]
                words = _evaluate_words(options, f"{sweep.file}, row {row!r}")
                evaluations += (Evaluation(row, digest(words), words),)
            runs[key] = dataclasses.replace(run, rows=(*run.rows, row), evaluations=evaluations)
    if len({run.name for run in runs.values()}) < len(runs):
        raise ConfigError(f"{sweep.file}: two trainings have the same name; write their values differently")
    return list(runs.values())


def name_of(values: Mapping[str, Any], start: str = "") -> str:
    """{"model.joint_layers": (0, 1), "optim.lr": 1e-3} -> "joint_layers=0,1_lr=0.001"; `start` comes before it.

    A field's last word stands for it, or as many as tell it from the others. What a folder's name cannot hold becomes "-"; a
    name that is changed by that, or is too long, ends with a hash of all values.
    """
    words = [field.split(".") for field in values]

    def shortest(mine: list[str]) -> str:
        ends = [mine[-n:] for n in range(1, len(mine) + 1)]
        return ".".join(next((end for end in ends if sum(other[-len(end):] == end for other in words) == 1), mine))

    def plain(value: Any) -> str:
        return text(value).strip("()").rstrip(",").replace("/", "-") or "none"

    parts = [start] * bool(start) + [f"{shortest(mine)}={plain(value)}" for mine, value in zip(words, values.values())]
    return _short("_".join(parts))


def text(value: Any) -> str:
    """A value as the command line reads it (run_config.read_value)."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(map(text, value)) + ("," if len(value) == 1 else "") if value else "()"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def digest(values: Any) -> str:
    """Twelve hexadecimal digits that stand for plain JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _short(name: str) -> str:
    clean = re.sub(r"[^\w=.,+-]+", "-", name, flags=re.ASCII)
    if clean == name and len(name) <= LONGEST_NAME:
        return name
    return f"{clean[:LONGEST_NAME - 9]}-{digest(name)[:8]}"


def _check(sweep: Sweep) -> None:
    where = sweep.file
    many = [sweep.rows] if isinstance(sweep.rows, Mapping) else sweep.rows if isinstance(sweep.rows, (list, tuple)) else [None]
    values = list(sweep.rows.values()) if isinstance(sweep.rows, Mapping) else many
    if not values or not all(isinstance(row, Mapping) for row in values):
        raise ConfigError(f"{where}: rows is neither {{name: {{field: value}}}} nor [{{field: value}}]")
    rows = sweep.named_rows()
    if len(rows) < len(values):
        raise ConfigError(f"{where}: two rows have the same values")
    groups = {"fixed": sweep.fixed, "evaluate": sweep.evaluate or {}, "smallest.fixed": sweep.smallest.fixed,
              "smallest.evaluate": sweep.smallest.evaluate}  # fmt: skip
    for name, group in groups.items():
        if not isinstance(group, Mapping):
            raise ConfigError(f"{where}: {name} is {group!r}, expected {{field: value}}")
    for name in (sweep.compared_with, *sweep.smallest.rows):
        if name not in rows:
            raise ConfigError(f"{where}: no row {name!r}; the rows are {', '.join(map(repr, rows))}")
    if sweep.smallest.rows and sweep.compared_with not in sweep.smallest.rows:
        raise ConfigError(f"{where}: smallest.rows is without the baseline, {sweep.compared_with!r}")
    if not sweep.metrics:
        raise ConfigError(f"{where}: metrics is empty; the first one orders the table")
    if sweep.evaluate is None and any(field.startswith(EVALUATE) for row in rows.values() for field in row):
        raise ConfigError(f"{where}: a row has an {EVALUATE} option, but the sweep has no evaluate")
    for name, seeds in (("seeds", sweep.seeds), ("smallest.seeds", sweep.smallest.seeds)):
        if not seeds or len(set(seeds)) < len(seeds):
            raise ConfigError(f"{where}: {name} {seeds} is empty or has one twice")


def _evaluate_words(options: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """{"split": "validation", "rest": True} -> ("--split", "validation", "--rest"), as `jamflow evaluate` takes them."""
    from launch import evaluate

    words = []
    for option, value in options.items():
        if value is not None and value is not False:
            words += [f"--{option.replace('_', '-')}"] + ([] if value is True else [text(value)])
    parser = evaluate._parser()

    def refuse(message: str):
        raise ConfigError(f"{where}: jamflow evaluate: {message}")

    parser.error = refuse
    try:
        parser.parse_args(["--model", "RUN", "--out", "DIR", *words])
    except argparse.ArgumentTypeError as error:
        refuse(str(error))
    return tuple(words)
