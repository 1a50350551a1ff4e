"""What each accelerator can do at most, by the name JAX gives it: for MFU and for plans.

Peaks are dense bf16 (no sparsity), per JAX device. Sources: Google Cloud's pages of each TPU version; for the bandwidth of one link
and of the data-centre network per chip "How to Scale Your Model" (Austin et al., 2025), chapter "How to Think About TPUs"; NVIDIA's
data sheets.
"""
import dataclasses

TERA, GIGA, GIB = 1e12, 1e9, 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device. Bandwidths are one way, in bytes a second."""

    name: str
    kinds: tuple[str, ...]  # how `jax.Device.device_kind` begins
    flops: float  # dense bf16 FLOP/s
    memory: float  # bytes of HBM
    memory_bandwidth: float
    link: float  # to one neighbour (TPU: one ICI link; GPU: all of NVLink)
    network: float  # between slices or hosts, this device's share
    torus: int = 0  # axes of the torus a TPU's links make; 0: a switch
    host: int = 8  # devices of one host


CHIPS = (
    Chip("v4", ("TPU v4",), 275 * TERA, 32 * GIB, 1.2e12, 45 * GIGA, 6.25 * GIGA, torus=3, host=4),
    Chip("v5e", ("TPU v5 lite", "TPU v5e"), 197 * TERA, 16 * GIB, 819 * GIGA, 45 * GIGA, 3.125 * GIGA, torus=2),
    Chip("v5p", ("TPU v5p", "TPU v5"), 459 * TERA, 95 * GIB, 2.765e12, 90 * GIGA, 6.25 * GIGA, torus=3, host=4),
    Chip("v6e", ("TPU v6 lite", "TPU v6e"), 918 * TERA, 32 * GIB, 1.64e12, 90 * GIGA, 12.5 * GIGA, torus=2),
    Chip("a100", ("NVIDIA A100",), 312 * TERA, 80 * GIGA, 2.039e12, 300 * GIGA, 25 * GIGA),
    Chip("h200", ("NVIDIA H200",), 989 * TERA, 141 * GIGA, 4.8e12, 450 * GIGA, 50 * GIGA),
    Chip("h100pcie", ("NVIDIA H100 PCIe",), 756 * TERA, 80 * GIGA, 2.0e12, 300 * GIGA, 50 * GIGA),
    Chip("h100", ("NVIDIA H100",), 989 * TERA, 80 * GIGA, 3.35e12, 450 * GIGA, 50 * GIGA),
    Chip("b200", ("NVIDIA B200", "NVIDIA GB200"), 2250 * TERA, 180 * GIGA, 8e12, 900 * GIGA, 50 * GIGA),
)  # fmt: skip


def of_kind(device_kind: str) -> Chip | None:
    """The chip behind a `jax.Device.device_kind`; None for one that is not in the table (a CPU)."""
    return next((chip for chip in CHIPS if device_kind.startswith(chip.kinds)), None)


def named(name: str) -> Chip | None:
    """The chip by our own short name, "v5e" or "h100"."""
    return next((chip for chip in CHIPS if chip.name == name), None)
