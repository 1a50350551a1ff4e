"""Schedule and update against PyTorch's rules written out."""
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jamflow_jax.train.config import OptimConfig
from jamflow_jax.train.optimizer import optimizer, schedule


@pytest.mark.parametrize("decay, last", [("linear", 1e-8), ("cosine", 1e-8), ("constant", 1.0)])
def test_schedule(decay, last):
    rate = schedule(OptimConfig(lr=2.0, warmup=10, decay=decay), 110)
    np.testing.assert_allclose([rate(0), rate(5), rate(10), rate(110)], [2e-8, 1.0, 2.0, 2 * last], rtol=1e-4)


def test_linear_decay_is_linear():
    rate = schedule(OptimConfig(lr=1.0, warmup=0), 100)
    np.testing.assert_allclose(rate(25), 0.75, rtol=1e-5)


@pytest.mark.parametrize("size", (0.0, 0.3, 3.0))
def test_gradients_are_clipped_by_the_norm_of_all_streams(size):
    """As optax clips. Adam's first update does not know a gradient's size; the second does, where the first was another."""
    config = OptimConfig(lr=0.1, warmup=0, decay="constant", clip=1.0)
    params = {"audio": {"bias": jnp.array([2.0])}, "motion": {"bias": jnp.array([2.0])}}
    tx, adam = optimizer(config, 10), optax.adamw(0.1, *config.betas, weight_decay=config.weight_decay)
    expected = optax.chain(optax.clip_by_global_norm(1.0), adam)
    state, other = tx.init(params), expected.init(params)
    for scale in (0.1, size):
        gradient = {"audio": {"bias": jnp.array([3.0 * scale])}, "motion": {"bias": jnp.array([-4.0 * scale])}}
        delta, state = tx.update(gradient, state, params)
        known, other = expected.update(gradient, other, params)
    np.testing.assert_allclose(delta["audio"]["bias"], known["audio"]["bias"], rtol=1e-5)
    np.testing.assert_allclose(delta["motion"]["bias"], known["motion"]["bias"], rtol=1e-5)


def test_first_update_is_adamw_with_decay_on_every_parameter():
    """Clipped gradient g gives m / sqrt(v) = sign(g) at the first step; torch decays by lr * wd * theta."""
    config = OptimConfig(lr=0.1, warmup=0, decay="constant", weight_decay=0.5, motion_lr=0.5)
    params = {"audio": {"bias": jnp.array([2.0])}, "motion": {"bias": jnp.array([2.0])}}
    tx = optimizer(config, 10)
    gradient = {"audio": {"bias": jnp.array([30.0])}, "motion": {"bias": jnp.array([-40.0])}}
    delta, _ = tx.update(gradient, tx.init(params), params)
    np.testing.assert_allclose(delta["audio"]["bias"], -0.1 * (1 + 0.5 * 2), rtol=1e-5)
    np.testing.assert_allclose(delta["motion"]["bias"], -0.05 * (-1 + 0.5 * 2), atol=1e-6)
