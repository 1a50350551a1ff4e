"""libtpu is tried where there may be a TPU, and nowhere else."""
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch import devices

NOTHING_SAID = {name: value for name, value in os.environ.items() if name not in devices._CHOSEN}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """(files of a machine, packages of its Python, its environment) -> what JAX_PLATFORMS is then."""

    def call(files=(), packages=("libtpu",), **environment):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        root.mkdir()
        for name, text in dict(files).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        there = devices._tpu
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", dict(environment))
            patch.setattr(devices, "_tpu", lambda: there(root))
            patch.setattr(importlib.util, "find_spec", lambda name: name in packages or None)
            patch.setattr(importlib.metadata, "entry_points", lambda group: [])
            devices.use_what_is_there()
            return os.environ.get("JAX_PLATFORMS")

    return call


def card(vendor, device):
    return {f"sys/bus/pci/devices/{device}/vendor": vendor + "\n", f"sys/bus/pci/devices/{device}/device": device + "\n"}


def test_cpus_alone_are_said_to_be(machine):
    assert machine() == "cpu"
    assert machine({**card("0x8086", "0x0063"), **card("0x1ae0", "0x0042")}) == "cpu"


def test_nothing_is_said_where_there_may_be_more_or_somebody_has_chosen(machine):
    assert machine({"dev/accel0": ""}) is None and machine({"dev/vfio/0": ""}) is None
    assert machine(card("0x1ae0", "0x0062")) is None and machine(card("0x1ae0", "0x9999")) is None  # a TPU of tomorrow
    assert machine(packages=("libtpu", "jax_plugins")) is None  # CUDA
    assert machine(packages=()) is None
    assert machine(JAX_PLATFORMS="tpu") == "tpu" and machine(TPU_LIBRARY_PATH="/lib/tpu.so") is None


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install 'jamflow-jax[plan]'")
@pytest.mark.skipif(devices._tpu() or importlib.util.find_spec("jax_plugins") is not None, reason="there is more than CPUs")
def test_a_command_on_a_machine_of_cpus_says_nothing_of_libtpu():
    root = Path(__file__).resolve().parent.parent.parent
    code = "import launch, jax; print(jax.devices()[0].platform)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=NOTHING_SAID)
    assert (done.stdout, done.stderr) == ("cpu\n", "")
