"""Random weights in the layout of LivePortrait's release: with them every command of docs/faces.md runs, and draws noise.

    python -m benchmarks.random_faces weights/random        five .safetensors, 0.5 GB
    jamflow render --weights weights/random --source photo.jpg --motion laugh.pkl --out noise.mp4

Signals keep their size from layer to layer, variances are positive, spectral norm's vectors are those of the largest singular
value.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file

from jamflow_jax.torch_io import liveportrait

ROUNDS = 50  # of the power iteration


def state(network: str, seed: int = 0) -> dict[str, np.ndarray]:
    """The state dict of a network, float32, keys and shapes as in its released file."""
    rng = np.random.default_rng(seed)
    leaves = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(liveportrait.template(network)).items()}
    shapes = {key: shape for row in liveportrait.rows(network) for key, shape in liveportrait.wanted_shapes(row, leaves).items()}
    tensors = {key: _tensor(key, shape, rng) for key, shape in shapes.items()}
    for name in (key.removesuffix("_orig") for key in shapes if key.endswith("weight_orig")):
        weight, v = tensors[f"{name}_orig"], tensors[f"{name}_v"]
        matrix = weight.reshape(len(weight), -1)
        for _ in range(ROUNDS):
            u = matrix @ v
            u /= np.linalg.norm(u)
            v = matrix.T @ u
            v /= np.linalg.norm(v)
        tensors |= {f"{name}_u": u, f"{name}_v": v}
    return tensors


def _tensor(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(shape, np.float32)
    if key.endswith("running_var"):
        return 1 + 0.2 * abs(noise)
    if len(shape) > 1 and key.endswith(("weight", "weight_orig")):
        return noise * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return 1 + 0.1 * noise if key.endswith("weight") else 0.1 * noise


def write(folder: Path) -> None:
    """The five files."""
    for network, name in liveportrait.FILES.items():
        path = (folder / name).with_suffix(".safetensors")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state(network), str(path))


def main() -> int:
    """Writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write(folder)
    print(f"{folder}: random weights in LivePortrait's layout")
    return 0


if __name__ == "__main__":
    sys.exit(main())
