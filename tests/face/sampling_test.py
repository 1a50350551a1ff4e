"""Trilinear sampling against a direct reference, borders and far outside included; shifts and Gaussians against the plain form."""
import itertools

import jax
import numpy as np
import pytest

from jamflow_jax.face.sampling import axis, gaussians, grid, sample, sample_shifted


def reference(volume_DHWC, places_P3):
    """align_corners=False, zero padding, one place and one corner at a time."""
    size = np.array(volume_DHWC.shape[2::-1])  # of x, y, z
    out = np.zeros((len(places_P3), volume_DHWC.shape[-1]))
    for row, place in zip(out, places_P3.astype(np.float64)):
        u = ((place + 1) * size - 1) / 2
        low = np.floor(u)
        for corner in itertools.product((0, 1), repeat=3):
            index = low + corner
            if ((index >= 0) & (index < size)).all():
                x, y, z = index.astype(int)
                row += volume_DHWC[z, y, x] * np.prod(np.where(corner, u - low, 1 - (u - low)))
    return out


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(0).normal(size=(1, 3, 4, 5, 2)).astype(np.float32)


def test_sampling_is_exact_inside_at_the_borders_and_outside(volume):
    rng = np.random.default_rng(1)
    edges = np.array(list(itertools.product((-1.4, -1.0, -0.8, 0.0, 0.8, 1.0, 1.4), repeat=3)))
    far = np.array([[1e9, 0, 0], [0, -1e30, 0], [0, 0, 3.0]])
    places = np.concatenate([rng.uniform(-1.5, 1.5, (200, 3)), edges, far]).astype(np.float32)
    ours = np.asarray(jax.jit(sample)(volume, places[None]))[0]
    np.testing.assert_allclose(ours, reference(volume[0], places), atol=2e-6)
    assert np.abs(ours[-len(far) :]).max() == 0


def test_sampling_equals_pytorch(volume):
    torch = pytest.importorskip("torch")
    places = np.random.default_rng(2).uniform(-1.3, 1.3, (1, 2, 3, 4, 3)).astype(np.float32)
    theirs = torch.nn.functional.grid_sample(torch.tensor(np.moveaxis(volume, -1, 1)), torch.tensor(places), align_corners=False)
    np.testing.assert_allclose(jax.jit(sample)(volume, places), np.moveaxis(theirs.numpy(), 1, -1), atol=2e-6)


def test_a_shifted_grid_needs_no_gather(volume):
    shift = np.random.default_rng(3).uniform(-0.7, 0.7, (1, 6, 3)).astype(np.float32)
    shift[0, 0] = 0
    ours = jax.jit(sample_shifted)(volume, shift)
    places = grid(3, 4, 5)[None, None] + shift[:, :, None, None, None]
    general = jax.jit(sample)(volume, places.reshape(1, -1, 3)).reshape(ours.shape)
    np.testing.assert_allclose(ours, general, atol=2e-6)


def test_gaussians_on_the_grid():
    points = np.random.default_rng(4).uniform(-1, 1, (2, 3, 3)).astype(np.float32)
    distance = np.asarray(grid(3, 4, 5))[None, ..., None, :] - points[:, None, None, None]
    direct = np.exp(-0.5 * (distance**2).sum(-1) / 0.01)
    np.testing.assert_allclose(jax.jit(gaussians, static_argnums=(1, 2))(points, (3, 4, 5), 0.01), direct, atol=1e-6)
    np.testing.assert_allclose(axis(5), [-1, -0.5, 0, 0.5, 1])
