"""Variants of a run that train the same model on the same devices: clips a step, microbatches, what the backward pass recomputes.

Ranked by formula (roofline.py), frames a second if nothing overlaps: a larger batch spreads the traffic of parameters over more
frames, lighter remat multiplies less, and both take memory. Of variants within MARGIN of the fastest the one nearest to the
configured clips, then the fewest microbatches, then the least memory is preferred: another batch is a choice of training and must
be worth it.
"""
import dataclasses
import math
from collections.abc import Iterable

from jamflow_jax.train.config import RunConfig

REMATS = ("none", "dots", "attention", "full")  # from most memory to least
FACTORS = (0.5, 1, 2, 4)  # of the configured clips a step
PARTS = (1, 2, 4, 8, 16, 32)  # microbatches
MARGIN = 0.05


@dataclasses.dataclass(frozen=True)
class Variant:
    """Clips of a global batch, the microbatches they come in, and remat of both streams."""

    examples: int
    accumulate: int
    remat: str

    def of(self, config: RunConfig) -> RunConfig:
        """The run with this remat and accumulation."""
        both = {stream: dataclasses.replace(getattr(config.model, stream), remat=self.remat) for stream in ("audio", "motion")}
        model, optim = dataclasses.replace(config.model, **both), dataclasses.replace(config.optim, accumulate=self.accumulate)
        return dataclasses.replace(config, model=model, optim=optim)

    def flags(self, frames: int) -> str:
        """As a command's flags, for clips of so many mel frames."""
        return (f"--config.data.batch_frames={self.examples * frames} --config.data.max_batch={self.examples} "
                f"--config.optim.accumulate={self.accumulate} "
                f"--config.model.audio.remat={self.remat} --config.model.motion.remat={self.remat}")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a variant would take by formula: bytes a device, frames a second of all devices."""

    variant: Variant
    bytes: float
    speed: float


def configured(config: RunConfig, examples: int) -> Variant:
    """The run as it is."""
    return Variant(examples, config.optim.accumulate, config.model.motion.remat)


def around(examples: int, shards: int) -> list[Variant]:
    """All variants near a batch of `examples`, rounded down to what `shards` devices share evenly in every microbatch."""
    sizes = {(int(examples * factor) // (shards * parts) * shards * parts, parts) for factor in FACTORS for parts in PARTS}
    return [Variant(size, parts, remat) for size, parts in sorted(sizes) if size for remat in REMATS]


def ranked(estimates: Iterable[Estimate], memory: float, examples: int) -> list[Estimate]:
    """Those that fit `memory`, the preferred one first; `examples` are the configured clips."""
    left, order = [e for e in estimates if e.bytes <= memory], []
    while left:
        least = (1 - MARGIN) * max(e.speed for e in left)
        order.append(min((e for e in left if e.speed >= least), key=lambda e: _preference(e, examples)))
        left.remove(order[-1])
    return order


def _preference(e: Estimate, examples: int) -> tuple[float, int, float]:
    return abs(math.log(e.variant.examples / examples)), e.variant.accumulate, e.bytes
