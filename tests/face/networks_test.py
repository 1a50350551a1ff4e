"""Batches of the networks: padded, unpadded, split over devices."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jamflow_jax.face.networks import batches, pad

SUPPORT = Path(__file__).resolve().parent.parent / "support"
PROGRAM = """
import sys
sys.path.insert(0, SUPPORT)
import jax, numpy as np
import small_faces
from jamflow_jax.face.networks import Networks

small_faces.shrink()
rng = np.random.default_rng(0)
params = small_faces.params(NETWORKS)
networks = Networks(params, batch=3, size=128)
assert networks.batch == -(-3 // len(jax.devices())) * len(jax.devices())
crops = rng.integers(0, 255, (5, 128, 128, 3), np.uint8)
out = [np.concatenate(column) for column in zip(*networks.faces(crops))]
assert all(len(column) == 5 for column in out)
if "generator" in params:
    points = rng.standard_normal((3, 21, 3), np.float32) * 0.3
    out.append(np.asarray(networks.pictures(networks.volume(crops[:1]), points[:1], points))[:3])
np.savez(OUT, *out)
"""


def run(folder, devices: int, networks: tuple[str, ...]) -> list[np.ndarray]:
    out = str(folder / f"{devices}.npz")
    program = PROGRAM.replace("NETWORKS", repr(networks)).replace("OUT", repr(out)).replace("SUPPORT", repr(str(SUPPORT)))
    flags = f"--xla_force_host_platform_device_count={devices}"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"XLA_FLAGS": flags}, timeout=900)
    return list(np.load(out).values())


def test_batches_are_padded_with_what_is_there():
    got = list(batches((np.full((2, 2), i) for i in range(5)), 3))
    assert [(array.shape, count) for array, count in got] == [((3, 2, 2), 3), ((3, 2, 2), 2)]
    assert [array[:, 0, 0].tolist() for array, _ in got] == [[0, 1, 2], [3, 4, 4]]
    assert list(batches([], 3)) == []
    np.testing.assert_array_equal(pad(np.arange(4), 3), np.arange(4))


@pytest.mark.slow
@pytest.mark.parametrize("networks", [("motion",), ("motion", "appearance", "warping", "generator")], ids=["M", "all"])
def test_two_devices_see_what_one_sees(tmp_path, networks):
    for one, two in zip(run(tmp_path, 1, networks), run(tmp_path, 2, networks), strict=True):
        np.testing.assert_allclose(two.astype(float), one.astype(float), atol=1 if one.dtype == np.uint8 else 1e-4)
