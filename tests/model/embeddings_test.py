import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jamflow_jax.model import AudioConfig, embeddings
from jamflow_jax.model.embeddings import TextEmbedding

CONFIG = AudioConfig(width=32, depth=2, heads=2, head_dim=16, text_vocab=9, text_width=8, text_layers=2)
V0 = AudioConfig(**{**CONFIG.__dict__, "text_mask_padding": False})
TEXT = jnp.array([[0, 3, 5, 1, -1, -1], [2, 2, -1, -1, -1, -1]])


def params(config):
    plain = nn.unbox(TextEmbedding(config).init(jax.random.key(0), TEXT, 6))["params"]
    leaves, tree = jax.tree.flatten(plain)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return {"params": tree.unflatten([x + 0.2 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)])}


@pytest.mark.parametrize("config", (CONFIG, V0), ids=("v1", "v0"))
def test_text_longer_than_an_example_is_cut_to_it_as_if_it_were_alone(config):
    apply, variables = TextEmbedding(config).apply, params(config)
    alone = apply(variables, TEXT[:1], 3)
    batch = apply(variables, TEXT, 8, jnp.array([3, 8]))
    np.testing.assert_allclose(batch[:1, :3], alone, atol=1e-6)
    assert not np.any(batch[0, 3:])


def test_dropped_text_still_tells_its_length_and_missing_text_tells_nothing():
    apply, variables = TextEmbedding(CONFIG).apply, params(CONFIG)
    dropped = apply(variables, TEXT, 8, None, True)
    np.testing.assert_array_equal(np.any(np.asarray(dropped) != 0, axis=-1).sum(1), [4, 2])
    np.testing.assert_array_equal(dropped, apply(variables, jnp.where(TEXT >= 0, 7, -1), 8, None, True))
    assert not np.any(apply(variables, jnp.full((2, 6), -1), 8))


def test_the_gradient_of_a_missing_text_is_finite():
    """GRN takes a root of an energy that is zero there."""
    grad = jax.grad(lambda v: TextEmbedding(CONFIG).apply(v, jnp.full((1, 6), -1), 8, jnp.array([0])).sum())(params(CONFIG))
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grad))


@pytest.mark.parametrize("characters", (2, 6, 7, 30))  # 6 are the most that leave fillers enough in a third of 30 frames
@pytest.mark.parametrize("over_padding", (True, False))
def test_fillers_that_are_not_worked_on_change_nothing(monkeypatch, characters, over_padding):
    config = AudioConfig(**{**CONFIG.__dict__, "grn_over_padding": over_padding})
    text = jnp.where(jnp.arange(30) < jnp.array([[characters], [1]]), 3, -1)

    def value_and_gradient(variables):
        args = text, 30, jnp.array([30, 20]), jnp.array([False, True])
        return jax.value_and_grad(lambda v: (TextEmbedding(config).apply(v, *args) ** 2).sum())(variables)

    ours = jax.jit(value_and_gradient)(params(config))
    monkeypatch.setattr(embeddings, "NARROW", 30)  # all positions, as F5-TTS does it
    theirs = jax.jit(lambda v: value_and_gradient(v))(params(config))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), ours, theirs)
