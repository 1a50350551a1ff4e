import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.model.rope import audio_positions, motion_positions, rope, rotate


def test_pairs_are_neighbours_and_turn_by_position():
    x = jax.random.normal(jax.random.key(0), (1, 5, 2, 8))
    out = rotate(x, rope(audio_positions(5), 8))
    theta = 10_000.0 ** (-np.arange(0, 8, 2) / 8)
    pairs = np.asarray(x).reshape(1, 5, 2, 4, 2)
    turned = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * np.arange(5)[None, :, None, None] * theta)
    np.testing.assert_allclose(out, np.stack([turned.real, turned.imag], -1).reshape(x.shape), atol=1e-6)


def test_scores_depend_on_time_differences_across_streams():
    """A motion query 4 frames on scores a mel key 15 frames on as frame 0 scores frame 0: both are 0.16 s later."""
    q = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (16,)), (1, 9, 1, 16))
    k = jnp.broadcast_to(jax.random.normal(jax.random.key(1), (16,)), (1, 31, 1, 16))
    q = rotate(q, rope(motion_positions(9, "time"), 16))
    k = rotate(k, rope(audio_positions(31), 16))
    scores = jnp.einsum("bthk,bshk->ts", q, k)
    np.testing.assert_allclose(scores[4, 15:], scores[0, :-15], atol=1e-4)
    np.testing.assert_allclose(scores[8, 30], scores[0, 0], atol=1e-4)


def test_the_three_alignments():
    length = jnp.array([30, 22])
    np.testing.assert_allclose(motion_positions(8, "time", length)[0], 3.75 * np.arange(8))
    np.testing.assert_allclose(motion_positions(8, "length", length), np.outer([30 / 8, 22 / 6], np.arange(8)), rtol=1e-6)
    np.testing.assert_allclose(motion_positions(8, "length"), 3.75 * np.arange(8)[None])
    np.testing.assert_allclose(motion_positions(8, "none", length)[0], np.arange(8))


@pytest.mark.parametrize("heads", (1, 2))
def test_only_the_first_heads_turn(heads):
    x = jax.random.normal(jax.random.key(0), (1, 5, 3, 8))
    table = rope(audio_positions(5), 8)
    out = rotate(x, table, heads)
    np.testing.assert_array_equal(out[:, :, heads:], x[:, :, heads:])
    np.testing.assert_allclose(out[:, :, :heads], rotate(x, table)[:, :, :heads])


def test_half_precision_inputs_keep_float32_angles():
    x = jax.random.normal(jax.random.key(0), (1, 2048, 1, 64)).astype(jnp.bfloat16)
    table = rope(audio_positions(2048), 64)
    assert table[0].dtype == jnp.float32
    np.testing.assert_allclose(rotate(x, table).astype(np.float32), rotate(x.astype(jnp.float32), table), atol=0.03)
