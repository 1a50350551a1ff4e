"""Is this the same run? A checkpoint goes on only under the config and the data it was made with.

What may differ is listed here; everything else would make another curve than the uninterrupted one.
"""
from collections.abc import Callable
from typing import Any

from jamflow_jax.errors import ConfigError, InputError

# Prefixes of dotted config fields that may change between a checkpoint and its resumption.
MAY_CHANGE = (
    "steps",  # train longer: the decay of the learning rate follows the new total
    "log_every",
    "mesh.",  # other devices: equal up to rounding
    "checkpoint.",
    "evaluation.",
    "processes",
    "profile",
    "data.path",  # moved; what counts is the fingerprint of what it holds
    "data.workers",
    "data.prefetch",
    "data.align",  # of the buckets, which the fingerprint knows
    "model.audio.attention",  # equal up to rounding
    "model.motion.attention",
    "model.audio.remat",
    "model.audio.scan",
    "model.motion.remat",
    "model.motion.scan",
)


def check(
    record: dict[str, Any], config: dict[str, Any], fingerprint: str, where: str, say: Callable[[str], None] = print
) -> None:
    """Compares a checkpoint's record with the run that wants to resume from it; tells of the changes that are allowed.

    Args:
      record: holds "config" and "fingerprint" as saved.
      config: of this run, as `jamflow_jax.config.to_dict` gives it.
      fingerprint: of this run's plan.
      where: the work directory, for messages.

    Raises:
      ConfigError: a config field differs that may not.
      InputError: the data or the global batches have changed.
    """
    for field, (old, new) in differences(record["config"], config).items():
        if not field.startswith(MAY_CHANGE):
            raise ConfigError(
                f"config.{field}: the checkpoint in {where} was made with {old!r}, this run has {new!r}; "
                f"set it back, or take another --workdir"
            )
        if field == "steps":
            say(f"config.steps: {old:,} before, {new:,} now; the learning rate follows the new total")
    if record["fingerprint"] != fingerprint:
        raise InputError(
            f"the data has changed since the checkpoint in {where} was made (fingerprint {record['fingerprint'][:12]} there, "
            f"{fingerprint[:12]} now): restore the data set and the number of devices per batch, or take another --workdir"
        )


def differences(old: Any, new: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted field -> (old, new) where two nested configs differ; a field that only one has counts as None there."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return {} if old == new else {prefix: (old, new)}
    found = {}
    for name in dict.fromkeys((*old, *new)):
        found |= differences(old.get(name), new.get(name), f"{prefix}.{name}" if prefix else name)
    return found
