"""Mappings become frozen dataclasses at the door; unknown or mistyped fields are errors that name the field.

A config file returns an `ml_collections.ConfigDict`; nothing behind this module ever sees one. Dataclasses are hashable, so
they can be static arguments of jitted functions.
"""
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, TypeVar

from jamflow_jax.errors import ConfigError

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], where: str = "config") -> T:
    """Builds the frozen dataclass `cls` from a (nested) mapping.

    Args:
      cls: a dataclass whose fields are scalars, tuples, Fractions, optionals of those, or dataclasses.
      values: field name -> value; fields left out keep their default.
      where: dotted path used in error messages.

    Raises:
      ConfigError: an unknown field (with the nearest known name) or a value of the wrong kind.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a group of fields, got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f"; known fields: {', '.join(fields)}"
            raise ConfigError(f"{where}.{name}: no such field{hint}")
    built = {name: _convert(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    missing = [
        name for name, f in fields.items()
        if name not in built and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: missing field{'s' if len(missing) > 1 else ''} {', '.join(missing)}")
    try:
        return cls(**built)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def to_dict(config: Any) -> Any:
    """The inverse of `build`: nested plain JSON values (Fractions become 'p/q' strings, tuples lists)."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Fraction):
        return str(config)
    if isinstance(config, (tuple, list)):
        return [to_dict(value) for value in config]
    return config


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        errors = []
        for option in args:
            if option is type(None):
                continue
            try:
                return _convert(option, value, where)
            except ConfigError as error:
                errors.append(error)
        raise errors[0]
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(repr, args))}")
        return value
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else build(kind, value, where)
    if origin is tuple:
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        items = list(value)
        kinds = [args[0]] * len(items) if len(args) == 2 and args[1] is Ellipsis else list(args)
        if len(kinds) != len(items):
            raise ConfigError(f"{where}: expected {len(kinds)} values, got {len(items)}")
        return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, items)))
    if kind is Fraction:
        try:
            return Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            raise ConfigError(f"{where}: {value!r} is not a number or a fraction such as '7/25'") from None
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is Any or (kind in (int, str, bool, float) and type(value) is kind):
        return value
    name = getattr(kind, "__name__", str(kind))
    raise ConfigError(f"{where}: expected {name}, got {value!r}")
