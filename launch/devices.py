"""Where there are only CPUs, JAX is told so.

libtpu may be installed for `jamflow plan` alone. JAX would then try it in every command, and it complains of the TPU that is not
there, in lines that are none of the user's business.
"""
import importlib.metadata
import importlib.util
import os
from pathlib import Path

_CHOSEN = ("JAX_PLATFORMS", "JAX_FORCE_TPU_INIT", "TPU_LIBRARY_PATH", "PJRT_NAMES_AND_LIBRARY_PATHS")  # somebody has chosen
_GOOGLE, _NO_TPU = "0x1ae0", ("0x0042", "0x001f")  # PCI vendor; its network card and its disk


def use_what_is_there() -> None:
    """Sets JAX_PLATFORMS=cpu where nothing was said, libtpu is installed, and there is neither a TPU nor another plugin of JAX."""
    if any(os.environ.get(name) for name in _CHOSEN) or importlib.util.find_spec("libtpu") is None:
        return
    plugins = importlib.util.find_spec("jax_plugins") or importlib.metadata.entry_points(group="jax_plugins")
    if not plugins and not _tpu():
        os.environ["JAX_PLATFORMS"] = "cpu"


def _tpu(root: Path = Path("/")) -> bool:
    """Whether this machine may have one: by its device files, or on the PCI bus."""
    if any(root.glob("dev/accel*")) or any(root.glob("dev/vfio/[0-9]*")):
        return True
    cards = [(path / "vendor", path / "device") for path in root.glob("sys/bus/pci/devices/*")]
    found = [tuple(file.read_text().strip() for file in card) for card in cards if all(file.is_file() for file in card)]
    return any(vendor == _GOOGLE and device not in _NO_TPU for vendor, device in found)
