"""The real train step, compiled for devices that may not be there: shapes and shardings in, program and memory out."""
import dataclasses
import math
import re
import time

import jax
import numpy as np
from jax.sharding import Mesh

from jamflow_jax.parallel.mesh import batch_sharding
from jamflow_jax.timeline import MEL_BINS, motion_frames
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.roofline import Parameters
from jamflow_jax.train.state import TrainState, layout, streams
from jamflow_jax.train.step import make_train_step

# Of the TPU's compiler, for a program that is read and not run.
#   scoped_vmem_limit: KiB of on-chip memory that one operation may take for its tiles (its own default is 16 MiB and more). Every
#     tile is written out instruction by instruction, nearly all of the compiler's work: a quarter of the memory makes a third of
#     it; less, and its all-reduce over 1,024 chips divides by zero. Arrays and collectives stay (docs/scale.md).
#   offload_gather: looking up characters on the SparseCores of v5p and v6e makes an instruction that jaxlib cannot read back.
FOR_READING = {"xla_tpu_scoped_vmem_limit_kib": "4096", "xla_tpu_offload_gather_to_sparsecore": "false"}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program, what a device must hold for it, and how long it took."""

    text: str  # of the device's own program; empty where it does not fit
    arguments: dict[str, int]  # bytes a device: params, ema, optimizer, batch
    temporary: int  # bytes a device
    code: int
    seconds: float  # to trace, lower and compile

    @property
    def total(self) -> int:
        """Bytes of a device's memory; the new state lies where the old one was (it is donated)."""
        return sum(self.arguments.values()) + self.temporary + self.code


def abstract_batch(config: RunConfig, examples: int, frames: int, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """A global batch as `data_pipelines.loader` gives it, without numbers."""
    motion, c, sharding = motion_frames(frames), config.model.motion, batch_sharding(mesh)
    shapes = {
        "mel": ((frames, MEL_BINS), np.float16), "mouth": ((motion, c.mouth_dim), np.float32),
        "rest": ((motion, c.rest_dim), np.float32), "text": ((frames,), np.int32), "length": ((), np.int32),
        "example_id": ((), np.int32), "weight": ((), np.float32),
        **{f"has_{name}": ((), np.bool_) for name in ("audio", "motion", "text", "rest")},
    }  # fmt: skip
    if config.stage == 1 and config.speech == "features":
        shapes |= {"speech": ((motion, c.speech_dim), np.float16), "has_speech": ((), np.bool_)}
    return {name: jax.ShapeDtypeStruct((examples, *shape), kind, sharding=sharding) for name, (shape, kind) in shapes.items()}


def compile_step(config: RunConfig, mesh: Mesh, examples: int, frames: int) -> Compiled:
    """Traces, lowers and compiles the train step of a batch of `examples` x `frames` mel frames for the mesh's devices.

    For a TPU with the options FOR_READING.
    """
    options = FOR_READING if mesh.devices.flat[0].platform == "tpu" else None
    began = time.perf_counter()
    state, batch = abstract_state(config, mesh), abstract_batch(config, examples, frames, mesh)
    with jax.set_mesh(mesh):
        step = make_train_step(config, mesh, np.ones(config.model.motion.mouth_dim, bool))
        lowered = step.lower(state, batch, streams(config))
        try:
            program = lowered.compile(options)
        except jax.errors.JaxRuntimeError as error:  # the compiler gives up on what does not fit, and says how much it would take
            held = arguments(state, batch)
            return Compiled("", held, _wanted(error, sum(held.values())), 0, time.perf_counter() - began)
    memory = program.memory_analysis()
    return Compiled(
        program.as_text(), arguments(state, batch), memory.temp_size_in_bytes, memory.generated_code_size_in_bytes,
        time.perf_counter() - began)


def _wanted(error: Exception, held: int) -> int:
    """Bytes of temporaries that the TPU's compiler says a program would take, which it tells in one of two ways: alone, or with the
    arguments, of which `held` bytes are known. Raises the error again if it is about something else."""
    found = re.search(r"HLO temporaries \(([\d.]+)([KMGT]?)\)|in memory space hbm\. Used ([\d.]+)([KMGT]?) of", str(error))
    if not found:
        raise error
    alone, unit, used, unit_used = found.groups()
    size = int(float(alone or used) * 1024 ** " KMGT".index(unit or unit_used or " "))
    return size if alone else size - held


def abstract_state(config: RunConfig, mesh: Mesh) -> TrainState:
    """The state as shapes with shardings."""
    shapes, places = layout(config, mesh)
    return jax.tree.map(lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes, places)


def arguments(state: TrainState, batch: dict[str, jax.ShapeDtypeStruct]) -> dict[str, int]:
    """Bytes one device holds of each."""
    parts = {"params": state.params, "ema": state.ema, "optimizer": state.opt_state, "batch": batch}
    return {name: sum(map(_held, jax.tree.leaves(part))) for name, part in parts.items()}


def parameters(state: TrainState) -> Parameters:
    """How many the state has, and one device of them."""
    leaves = jax.tree.leaves(state.params)
    axes = [{name for axis in leaf.sharding.spec for name in ([axis] if isinstance(axis, str) else axis or ())} for leaf in leaves]
    held = [math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves]
    gathered = [size * leaf.sharding.mesh.shape["fsdp"] if "fsdp" in of else size for leaf, of, size in zip(leaves, axes, held)]
    return Parameters(sum(leaf.size for leaf in leaves), sum(gathered), sum(held))


def _held(leaf: jax.ShapeDtypeStruct) -> int:
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
