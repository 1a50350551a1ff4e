"""How long a step takes at least, by what its chips can do: arithmetic, memory, links, network. An estimate by formula.

    compute   FLOPs of the batch as padded, those that remat repeats included, at the chip's dense bf16 peak
    memory    operands and results of every product once; attention's logits, which this program writes to memory, 12 bytes a
              (row, key) pair and pass; the state read and written once
    links     bytes that leave a device in collectives, over all links of its torus both ways (GPU: NVLink within a host of eight,
              the network beyond)
    network   the sum of gradients between slices, over the device's share of its host's network

`fastest` takes the longest of the four: all overlap. `slowest` takes their sum: nothing does. Real steps lie between, and above the
first by what the chip does not reach of its peak.
"""
import dataclasses
import math
from collections.abc import Mapping

from jamflow_jax.parallel.chips import Chip
from jamflow_jax.parallel.collectives import Collective
from jamflow_jax.timeline import motion_frames
from jamflow_jax.train import flops
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.state import stream_frames, streams

PASSES = {"none": 3, "dots": 3, "attention": 4, "full": 4}  # forward passes' worth of products in a step, by remat


@dataclasses.dataclass(frozen=True)
class Parameters:
    """How many a model has, and how many of them a device."""

    all: int
    used: int  # by a device's layers: those cut over fsdp gathered
    held: int  # by a device: as they lie, and their gradients, moments and averages too


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds a step would take if this alone limited it."""

    compute: float
    memory: float
    links: float
    network: float

    @property
    def fastest(self) -> float:
        return max(dataclasses.astuple(self))

    @property
    def slowest(self) -> float:
        return sum(dataclasses.astuple(self))


def roofline(
    config: RunConfig, chip: Chip, mesh: Mapping[str, int], examples: int, frames: int, parameters: Parameters,
    traffic: list[Collective],
) -> Roofline:  # fmt: skip
    """Args:
      config: the run.
      chip: of which the mesh is made.
      mesh: axis -> devices; `config.mesh.slices` lie along data.
      examples, frames: of the global batch, in mel frames.
      parameters: of the model, by where they lie (`ahead.parameters`).
      traffic: collectives of a step, of a compiled program or `collectives_by_formula`.
    """
    mesh, slices = sharing(config, mesh, frames), config.mesh.slices
    devices = math.prod(mesh.values())
    remat = config.model.motion.remat
    forward = flops.forward_flops(config.model, frames, streams(config), apart=config.stage == 1)
    passes = PASSES[remat]
    attention = sum(count for name, count in forward.items() if name.endswith("_attention"))
    # every remat recomputes the weights of attention; only "full" its output too, which costs no more products
    work = passes * (sum(forward.values()) - attention) + (3 if remat == "none" else 4) * attention
    inner = config.model.audio.heads * config.model.audio.head_dim
    pairs = attention / (4 * inner) * config.model.audio.heads
    moved = passes * (12 * pairs + _activations(config, frames))
    state = parameters.held * 4 * 9  # parameter, gradient, two moments, average: read; all but the gradient written
    parts = config.optim.accumulate
    weights = 2 * passes * parameters.used * parts  # bf16, gathered, in every pass
    links = sum(c.traffic / _bandwidth(chip, c.group) for c in traffic)
    across = parts * 2 * 2 * parameters.held * (slices - 1) / slices
    return Roofline(
        examples * work / devices / chip.flops,
        (examples * moved / devices + state + weights) / chip.memory_bandwidth,
        links,
        across / chip.network,
    )


def collectives_by_formula(
    config: RunConfig, mesh: Mapping[str, int], examples: int, frames: int, parameters: Parameters
) -> list[Collective]:
    """What the rules ask for, where no program can be compiled: parameters gathered over fsdp forward and backward, gradients
    summed and cut over it, then summed over data, those of what is not cut summed over both, all of that for every microbatch; over
    tensor two sums of a layer's activations, forward, again in remat, and backward. Everything in bf16."""
    mesh = sharing(config, mesh, frames)
    data, fsdp, tensor, sequence = (mesh[axis] for axis in ("data", "fsdp", "tensor", "sequence"))
    depth, of = config.model.motion.depth, len(streams(config))
    parts, found = config.optim.accumulate, []
    cut = (parameters.used - parameters.held) * fsdp // (fsdp - 1) if fsdp > 1 else 0  # of those used, the ones cut over fsdp
    gathered, rest, times = parts * 2 * cut, parts * 2 * (parameters.used - cut), parts * depth * of
    if gathered:
        found += [Collective("all-gather", fsdp, 2 * times, 2 * gathered), Collective("reduce-scatter", fsdp, times, gathered)]
        if data * sequence > 1:
            found.append(Collective("all-reduce", data * sequence, times, gathered // fsdp))
    if rest and data * fsdp * sequence > 1:
        found.append(Collective("all-reduce", data * fsdp * sequence, times, rest))
    local = examples / (data * fsdp)
    tokens = (frames + motion_frames(frames) if of == 2 else motion_frames(frames)) / sequence
    width = config.model.motion.width
    if tensor > 1:
        passes = PASSES[config.model.motion.remat]
        found.append(Collective("all-reduce", tensor, 2 * depth * passes, int(2 * depth * passes * local * tokens * width * 2)))
    if sequence > 1:
        inner = config.model.motion.heads * config.model.motion.head_dim // tensor
        found.append(Collective("all-gather", sequence, 2 * depth * 3, int(3 * depth * local * tokens * sequence * 2 * inner * 2)))
    return found


def temporaries_by_formula(config: RunConfig, mesh: Mapping[str, int], examples: int, frames: int, parameters: Parameters) -> int:
    """Bytes a device holds besides its arguments, roughly: gradients, and with microbatches their sum; what remat keeps of every
    layer; one layer's own work.

    Layers keep, in bf16, their input (full), that and attention's output (attention), 11 widths a frame (dots) or 30 and
    attention's logits in 6 bytes a pair (none).
    """
    mesh = sharing(config, mesh, frames)
    local = examples / config.optim.accumulate / (mesh["data"] * mesh["fsdp"] * mesh["sequence"])
    c, of = config.model.motion, streams(config)
    sizes = {"audio": frames, "motion": motion_frames(frames)}
    tokens = local * sum(sizes[stream] for stream in of)
    keys = local * c.heads / mesh["tensor"] * sum(sizes[stream] for stream in of) * max(sizes[stream] for stream in of)
    widths = {"full": 1, "attention": 2, "dots": 11, "none": 30}[c.remat]
    kept = c.depth * (tokens * c.width * 2 * widths + (6 * keys if c.remat == "none" else 0))
    gathered = 2 * 2 * parameters.used / c.depth  # two layers' parameters, the next one's already on the way
    gradients = 4 * parameters.held * min(config.optim.accumulate, 2)
    return int(gradients + kept + tokens * c.width * 2 * 30 + 14 * keys + gathered)


def sharing(config: RunConfig, mesh: Mapping[str, int], frames: int) -> dict[str, int]:
    """Axis -> devices that share the work of an example of so many mel frames. An axis that does not divide what it should cut
    (frames of a stream; heads or hidden units) counts as 1, for its devices all do the same (`rules.constrain`)."""
    parts, of = dict(mesh), [getattr(config.model, stream) for stream in streams(config)]
    if any(n % mesh["sequence"] for n in stream_frames(config, frames).values()):
        parts["sequence"] = 1
    if any(n % mesh["tensor"] for c in of for n in (c.heads, c.ff_mult * c.width)):
        parts["tensor"] = 1
    return parts


def _activations(config: RunConfig, frames: int) -> float:
    """Bytes of the products' operands and results, one example's forward pass, in bf16."""
    total = 0.0
    for stream, n in stream_frames(config, frames).items():
        c = getattr(config.model, stream)
        inner = c.heads * c.head_dim
        total += c.depth * n * 2 * (4 * inner + 2 * c.width + 2 * (1 + c.ff_mult) * c.width + 6 * c.width)
    return total


def _bandwidth(chip: Chip, group: int) -> float:
    if chip.torus:
        return 2 * chip.torus * chip.link
    return chip.link if group <= chip.host else chip.network
