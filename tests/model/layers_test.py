"""Convolutions and products of our own against the primitives: values and gradients; normalisation; dropout per example."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.model.layers import depthwise_conv, dropout, grouped_conv, layer_norm, product


def primitive(x_BTD, kernel, groups):
    pad = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x_BTD, kernel, (1,), [(pad, pad)], dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=groups)


@pytest.mark.parametrize("frames", (3, 40))
@pytest.mark.parametrize("ours, width, groups, outs", (
    (lambda x, k: grouped_conv(x, k, 4), 31, 4, 16),
    (lambda x, k: grouped_conv(x, k, 4), 5, 4, 24),  # more channels out than in
    (depthwise_conv, 7, 16, 16),
))
def test_convolutions_equal_the_primitive(ours, width, groups, outs, frames):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, frames, 16))
    kernel = jax.random.normal(keys[1], (width, 16 // groups, outs))
    weight = jax.random.normal(keys[2], (2, frames, outs))

    def gradients(conv):
        return jax.jit(jax.value_and_grad(lambda x, k: (weight * jnp.sin(conv(x, k))).sum(), argnums=(0, 1)))(x, kernel)

    theirs = gradients(lambda x, k: primitive(x, k, groups))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3, rtol=1e-4), gradients(ours), theirs)


def test_the_kernel_gradient_keeps_its_dtype():
    x, kernel = jnp.ones((1, 9, 8), jnp.bfloat16), jnp.ones((3, 4, 8), jnp.bfloat16)
    grads = jax.grad(lambda x, k: grouped_conv(x, k, 2).astype(jnp.float32).sum(), argnums=(0, 1))(x, kernel)
    assert [g.dtype for g in grads] == [jnp.bfloat16] * 2


def test_layer_norm():
    x = np.random.default_rng(0).normal(3, 2, (2, 5, 7)).astype(np.float32)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(layer_norm(x), expected, atol=1e-5)
    assert layer_norm(x.astype(jnp.bfloat16)).dtype == jnp.float32


def test_dropout_keeps_the_mean_and_draws_per_example():
    x, keys = jnp.ones((2, 400, 50)), jax.random.split(jax.random.key(0))
    out = dropout(x, keys, 0.25)
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.75)}
    np.testing.assert_allclose(out.mean(), 1, atol=0.02)
    np.testing.assert_array_equal(dropout(x[:1], keys[:1], 0.25)[0], out[0])
    assert np.any(np.asarray(out[0] != out[1]))
    neighbours = np.asarray(out).reshape(-1, 2).T  # of one draw
    assert abs(np.corrcoef(neighbours)[0, 1]) < 0.03
    assert dropout(x, None, 0.25) is x and dropout(x, keys, 0.0) is x


def test_a_policy_that_keeps_products_keeps_this_one(capsys):
    """Of a rule for gradients jax.checkpoint's policies see the forward part alone: it has to hold a product they know."""
    policy = jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims
    kept = jax.checkpoint(lambda x, kernel: jnp.sin(product(x, kernel)).sum(), policy=policy)
    jax.ad_checkpoint.print_saved_residuals(kept, jnp.ones((2, 3, 4)), jnp.ones((4, 5)))
    assert "f32[2,3,5]" in capsys.readouterr().out


def test_the_gradients_of_a_product_are_those_of_jax():
    x, kernel, dy = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(2, 3, 4), (4, 5), (2, 3, 5)]))
    for ours, theirs in zip(jax.vjp(product, x, kernel)[1](dy), jax.vjp(jnp.matmul, x, kernel)[1](dy)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
