"""Checksums: what they see. (Saving, damage and resuming are in loop_test.py.)"""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.train.checkpoint import checksums, steps


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32, jnp.bool_])
def test_checksum_is_the_formula(dtype):
    x = (jnp.arange(24).reshape(2, 3, 4) % 5).astype(dtype)
    (value,) = checksums({"x": x}).values()
    host = np.asarray(x)
    bits = host if dtype == jnp.bool_ else host.view({2: np.uint16, 4: np.uint32}[host.itemsize])
    assert value == int(((2 * np.arange(24) + 1) * bits.ravel().astype(np.int64)).sum() % 2**32)


def test_checksum_sees_a_bit_and_an_exchange():
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    flipped, exchanged = x.copy(), x.copy()
    flipped.view(np.uint32)[2, 3] ^= 1
    exchanged[[0, 1]] = exchanged[[1, 0]]
    values = {tuple(checksums({"x": jnp.asarray(y)}).values()) for y in (x, flipped, exchanged)}
    assert len(values) == 3
    assert checksums({"x": jnp.zeros((), jnp.int32)}) == {"['x']": 0}
    assert jax.tree.structure(checksums({"a": {"b": x}})) == jax.tree.structure({"['a']['b']": 0})


def test_steps(tmp_path):
    for name in ("10", "9", "10.orbax-checkpoint-tmp", "x"):
        (tmp_path / name).mkdir()
    assert steps(tmp_path) == [9, 10] and steps(tmp_path / "none") == []
