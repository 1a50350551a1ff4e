"""LivePortrait's networks at full size with weights by rule, through the loader of released files; made once a session."""
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from jamflow_jax.torch_io import liveportrait

# The list's names of the networks; S is in three parts, as in the released file.
NETWORKS = {"F": "appearance", "M": "motion", "W": "warping", "G": "generator"}
PARTS = {"S_stitching": "retarget_shoulder", "S_lip": "retarget_mouth", "S_eye": "retarget_eye"}


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor by the rule the golden files were made with."""
    g = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_var"):
        return (1 + 0.2 * np.abs(g)).astype(np.float32)
    if key.endswith("running_mean"):
        return (0.1 * g).astype(np.float32)
    if "grn" in key:
        return (0.3 * g).astype(np.float32)
    if len(shape) >= 2:
        return (g * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
    return (1 + 0.1 * g if key.endswith("weight") else 0.05 * g).astype(np.float32)


@pytest.fixture(scope="session")
def state_shapes(golden: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """{network: {key: shape}} as in the released files (without counters)."""
    found: dict[str, dict] = {"stitching": {}}
    for line in (golden / "liveportrait_state.txt").read_text().splitlines():
        if head := re.match(r"== (\w+) ", line):
            part = head[1]
        elif row := re.match(r"   (\S+) \(([\d, ]+)\)$", line):
            shape = tuple(int(n) for n in row[2].split(",") if n.strip())
            network, key = NETWORKS.get(part, "stitching"), row[1]
            found.setdefault(network, {})[f"{PARTS[part]}/module.{key}" if part in PARTS else key] = shape
    return found


@pytest.fixture(scope="session")
def reader(golden: Path):
    """key of a released file -> its tensor by the rule; spectral norm's vectors are stored."""
    spectral = np.load(golden / "liveportrait_spectral.npz")

    def read(shapes):
        def one(key: str) -> np.ndarray:
            if key in spectral.files:
                return spectral[key]
            return weight(key.split("/module.")[-1], shapes[key])

        return one

    return read


@pytest.fixture(scope="session")
def params(state_shapes, reader):
    """network -> parameters by the loader, each made when first asked for."""
    made: dict[str, dict] = {}

    def get(network: str):
        if network not in made:
            shapes = state_shapes[network]
            made[network] = liveportrait.convert(network, shapes, reader(shapes))
        return made[network]

    return get


@pytest.fixture(scope="session")
def io(golden: Path) -> dict[str, np.ndarray]:
    """Inputs and outputs of the original networks."""
    return dict(np.load(golden / "liveportrait_io.npz"))
