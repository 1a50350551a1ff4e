"""Batches of the networks: padded, unpadded, split over devices."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jamflow_jax.face.networks import batches, pad

ALL = ("motion", "appearance", "warping", "generator")
SUPPORT = Path(__file__).resolve().parent.parent / "support"
PROGRAM = """
import sys
sys.path.insert(0, SUPPORT)
import jax, numpy as np
import small_faces
from jamflow_jax.face.networks import Networks

if SIZE < 256:
    small_faces.shrink()
rng = np.random.default_rng(0)
params = small_faces.params(NETWORKS)
networks = Networks(params, batch=BATCH, size=SIZE)
assert networks.batch == -(-BATCH // len(jax.devices())) * len(jax.devices())
crops = rng.integers(0, 255, (5, SIZE, SIZE, 3), np.uint8)
out = [np.concatenate(column) for column in zip(*networks.faces(crops))]
assert all(len(column) == 5 for column in out)
if "generator" in params:
    points = rng.standard_normal((BATCH, 21, 3), np.float32) * 0.3
    volume = networks.volume(crops[:1])
    out += [np.asarray(volume, np.float32), np.asarray(networks.pictures(volume, points[:1], points))[:BATCH]]
np.savez(OUT, *out)
"""


def run(folder, devices: int, networks: tuple[str, ...], size: int) -> list[np.ndarray]:
    out = str(folder / f"{devices}.npz")
    says = {"NETWORKS": networks, "OUT": out, "SUPPORT": str(SUPPORT), "SIZE": size, "BATCH": 3 if size < 256 else 2}
    program = PROGRAM
    for name, value in says.items():
        program = program.replace(name, repr(value))
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
@pytest.mark.parametrize("networks, size", [(("motion",), 128), (ALL, 128), (ALL, 256)], ids=["M", "all", "all at full size"])
def test_two_devices_see_what_one_sees(tmp_path, networks, size):
    for one, two in zip(run(tmp_path, 1, networks, size), run(tmp_path, 2, networks, size), strict=True):
        print(f"{one.dtype}{list(one.shape)}: at most {np.abs(two.astype(float) - one.astype(float)).max():.2g} apart")
        np.testing.assert_allclose(two.astype(float), one.astype(float), atol=1 if one.dtype == np.uint8 else 1e-4)
