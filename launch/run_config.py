"""`--config FILE --config.a.b=value ...` -> RunConfig: the door at which ConfigDict stops.

FILE is Python with a `get_config()` that returns an `ml_collections.ConfigDict` (or a dict) of the fields it sets; all others keep
the defaults of `jamflow_jax.train.config`. It may be a path, or the name of one that comes with the package ("base",
"configs/base.py"). Overrides are read by the field's own type: `--config.data.path=2024` is a path, `--config.optim.lr=1e-4`
a number, `--config.data.buckets=240,480` a list (`240,` a list of one), `none` an absent value.
"""
import ast
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

import ml_collections

from jamflow_jax.config import build
from jamflow_jax.errors import ConfigError
from jamflow_jax.train.config import RunConfig
from launch import python_files

FLAG = "--config."
_WORDS = {"true": True, "false": False, "none": None}


def load(file: str, overrides: list[str]) -> RunConfig:
    """The config of `file` with `overrides` ("--config.a.b=value", or two words) on top.

    Raises:
      ConfigError: no such file, a file that fails, an unknown field, a value of the wrong kind; one line each.
    """
    values = read(file)
    for field, text in parse(overrides):
        put(values, field, text)
    return build(RunConfig, values)


def read(file: str) -> dict[str, Any]:
    """The nested fields that a config file sets."""
    path, said = find(file), f"--config {file}"
    values = python_files.call(path, f"configs.{path.stem}", "get_config", said)
    if isinstance(values, ml_collections.ConfigDict):
        values = values.to_dict()
    if not isinstance(values, dict):
        raise ConfigError(f"{said}: get_config() returned {type(values).__name__}, expected an ml_collections.ConfigDict")
    return values


def find(file: str) -> Path:
    """A path as it is, else the config of that name in the installed package."""
    return python_files.find(file, "configs", f"--config {file}")


def parse(words: list[str]) -> list[tuple[str, str]]:
    """["--config.a=1", "--config.b", "2"] -> [("a", "1"), ("b", "2")]. Raises ConfigError on anything else."""
    found, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.partition("=")
        if not name.startswith(FLAG) or name == FLAG:
            raise ConfigError(f"{word}: unknown option; a field of the config is set with --config.FIELD=VALUE")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ConfigError(f"{word}: a value is missing: {name}=VALUE")
            text = rest.pop(0)
        found.append((name.removeprefix(FLAG), text))
    return found


def put(values: dict[str, Any], field: str, text: str) -> None:
    """Sets dotted `field` in nested `values`, reading `text` by the field's type. Unknown fields are left for `build` to refuse."""
    *groups, name = field.split(".")
    kind: Any = RunConfig
    for group in groups:
        kind = _member(kind, group)
        inner = values.get(group)
        if not isinstance(inner, dict):
            inner = values[group] = {}
        values = inner
    kind = _member(kind, name)
    if dataclasses.is_dataclass(kind):
        raise ConfigError(f"config.{field} is a group of fields ({', '.join(f.name for f in dataclasses.fields(kind))})")
    values[name] = read_value(text, kind)


def read_value(text: str, kind: Any = Any) -> Any:
    """Text -> a value for a field of type `kind`; what is not a literal stays text."""
    options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    if text.lower() == "none" and type(None) in options:
        return None
    choices = {choice for option in options if typing.get_origin(option) is typing.Literal for choice in typing.get_args(option)}
    if str in options or text in choices:  # "none" may be a choice: it is a word then
        return text
    one = int in options and "," not in text  # a number or a list: the comma tells
    if any(typing.get_origin(option) is tuple for option in options) and not one:
        return [_literal(part) for part in filter(None, (part.strip() for part in text.strip("()[] ").split(",")))]
    return _literal(text)


def _literal(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _member(kind: Any, name: str) -> Any:
    return typing.get_type_hints(kind).get(name, Any) if dataclasses.is_dataclass(kind) else Any
