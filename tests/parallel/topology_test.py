"""Names of machines, and one line for those there are not."""
import importlib.util

import pytest

from jamflow_jax.errors import ConfigError
from jamflow_jax.parallel import topology


@pytest.mark.parametrize("name, slices, devices", [
    ("v5e:4x4", 1, 16), ("v5p:8x8x16", 1, 1024), ("v6e:16x16", 2, 512), ("h200x8", 1, 8)])  # fmt: skip
def test_devices(name, slices, devices):
    found = topology.parse(name, slices)
    assert (found.devices, found.is_tpu) == (devices, name.startswith("v"))


@pytest.mark.parametrize("name, slices, says", [
    ("v9:4x4", 1, "expected one like v4:4x4x4, v5e:4x4"), ("h200:8", 1, "expected one like"), ("v5e:4x4x4", 1, "expected 2 sides"),
    ("v5e:0x4", 1, "none of them 0"), ("h200x0", 1, "none of them 0"),
    ("h200x8", 2, "GPUs have no slices"), ("v5e:4x4", 0, "at least 1"),
])  # fmt: skip
def test_machines_there_are_not(name, slices, says):
    with pytest.raises(ConfigError, match=says):
        topology.parse(name, slices)


def test_without_libtpu_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"v5e:4x4: needs libtpu.*pip install 'jamflow-jax\[plan\]'"):
        topology.describe(topology.parse("v5e:4x4"))
