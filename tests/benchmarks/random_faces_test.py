"""Random weights: read as the released ones are, and signals stay finite in all five networks."""
import jax
import numpy as np

from benchmarks import random_faces
from jamflow_jax.face.networks import Networks
from jamflow_jax.torch_io import liveportrait


def test_they_load_and_draw_a_picture(tmp_path, small_faces):
    random_faces.write(tmp_path)
    params = liveportrait.load(tmp_path)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    networks = Networks(params, batch=1, size=128)
    crops = np.random.default_rng(0).integers(0, 255, (1, 128, 128, 3), np.uint8)
    face = next(networks.faces(crops))
    assert all(np.isfinite(part).all() for part in face)
    picture = np.asarray(networks.pictures(networks.volume(crops), face.kp, face.kp + np.float32(0.1)))
    assert picture.std() > 1  # not all black, not all white


def test_spectral_norm_is_one(small_faces):
    tensors = random_faces.state("generator")
    name = next(key for key in tensors if key.endswith("weight_orig"))
    matrix = tensors[name].reshape(len(tensors[name]), -1)
    u, v = (tensors[name.replace("_orig", end)] for end in ("_u", "_v"))
    assert u @ matrix @ v > 0.95 * np.linalg.svd(matrix, compute_uv=False)[0]
