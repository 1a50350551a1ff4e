"""Machines by name, had or not: `v5e:4x4` is a TPU slice, `h200x8` GPUs.

A TPU topology gives devices that programs can be lowered and compiled for on any machine: libtpu describes them, no TPU is asked.
There is no such thing for GPUs here, so those are numbers only.
"""
import dataclasses
import importlib.util
import math
import re

import jax

from jamflow_jax.errors import ConfigError
from jamflow_jax.parallel import chips
from jamflow_jax.parallel.chips import Chip

# What libtpu looks for on a TPU machine; without them it asks a metadata server that is not there, and waits. It also lets one
# process at a time load it, which guards chips that are not there: several plans may be made at once.
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5litepod-16",
               "TPU_WORKER_HOSTNAMES": "localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Topology:
    """So many chips of a kind."""

    name: str
    chip: Chip
    per_slice: int  # devices
    slices: int = 1

    @property
    def devices(self) -> int:
        return self.per_slice * self.slices

    @property
    def is_tpu(self) -> bool:
        return self.chip.torus > 0


def parse(text: str, slices: int = 1) -> Topology:
    """`v5e:4x4`, `v5p:4x4x4`, `h200x8`.

    Raises:
      ConfigError: no such chip, or a shape that it does not come in.
    """
    known = ", ".join(f"{c.name}:{'x'.join('4' * c.torus)}" if c.torus else f"{c.name}x8" for c in chips.CHIPS)
    tpu, gpu = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", text), re.fullmatch(r"([a-z]+\d+[a-z]*)x(\d+)", text)
    chip = chips.named((tpu or gpu).group(1)) if tpu or gpu else None
    if chip is None or bool(tpu) != (chip.torus > 0):
        raise ConfigError(f"--topology {text}: expected one like {known}")
    if slices < 1 or (gpu and slices > 1):
        raise ConfigError(f"--topology {text} in {slices} slices: " + (
            f"GPUs have no slices: name them all, as in {chip.name}x64, with config.mesh.slices 1" if gpu else "at least 1"))
    sizes = [int(size) for size in (tpu or gpu).group(2).split("x")]
    if math.prod(sizes) == 0 or (tpu and len(sizes) != chip.torus):
        like = f"{chip.name}:{'x'.join('4' * chip.torus)}" if tpu else f"{chip.name}x8"
        raise ConfigError(f"--topology {text}: expected {chip.torus or 1} sides, none of them 0, like {like}")
    return Topology(text, chip, math.prod(sizes), slices)


def describe(topology: Topology) -> list[jax.Device]:
    """Devices of a TPU topology to compile for. Needs `ENVIRONMENT` to be set before jax is imported.

    Raises:
      ConfigError: libtpu is not installed, or knows no such slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError(f"--topology {topology.name}: needs libtpu, which is not installed: pip install 'jamflow-jax[plan]'")
    from jax.experimental import topologies

    more = {"num_slices": topology.slices} if topology.slices > 1 else {}
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology.name, **more).devices)
    except Exception as error:  # of libtpu: anything it says about a shape it does not know
        raise ConfigError(f"--topology {topology.name}: libtpu: {str(error).splitlines()[0]}") from error
