"""Banded attention against the dense oracle: values and gradients."""
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.model import attention, banded
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.timeline import MEL_TICKS, MOTION_TICKS, motion_frames

SHORT, ODD, LONG = Fraction(7, 25), Fraction(123457, 1000003), Fraction(9, 10)


def streams(frames, batch=3, heads=2, width=8):
    rng = np.random.default_rng(0)
    draw = lambda t: tuple(jnp.asarray(rng.normal(size=(batch, t, heads, width)), jnp.float32) for _ in range(3))  # noqa: E731
    return draw(frames), draw(motion_frames(frames))


def agree(backends, args, atol=2e-6):
    """Outputs, and the gradient of their projections on fixed random directions, with respect to every array."""

    def scalar(backend):
        def f(args):
            leaves = jax.tree.leaves(backend(*args))
            return sum(jnp.vdot(leaf.ravel(), jnp.cos(jnp.arange(leaf.size))) for leaf in leaves), leaves

        return jax.jit(jax.value_and_grad(f, has_aux=True))(args)

    ((_, out), grad), ((_, expected), expected_grad) = map(scalar, backends)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), out, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=10 * atol), grad, expected_grad)


@pytest.mark.parametrize(
    "frames, lengths, windows",
    [
        (240, None, WindowConfig()),
        (187, (187, 100, 1), WindowConfig()),  # no whole number of blocks or motion frames
        (240, (240, 91, 92), WindowConfig(Fraction(0), Fraction(0), Fraction(0))),
        (240, (240, 16, 15), WindowConfig(ODD, SHORT, None, ODD)),
        (240, (3, 239, 240), WindowConfig(None, LONG, SHORT, LONG)),  # LONG: dense, under a mask
        (300, (300, 150, 299), WindowConfig(SHORT, None, SHORT, SHORT, keep_when_alone=False)),
        (61, (61, 60, 59), WindowConfig(SHORT, Fraction(1, 25), None)),
    ],
    ids=str,
)
def test_joint_attention_equals_the_oracle(frames, lengths, windows):
    audio, motion = streams(frames)
    length_B = None if lengths is None else jnp.array(lengths)
    alphas = () if lengths is None else (jnp.array([True, False, True]), jnp.array([False, False, True]))
    agree([
        lambda a, m, backend=backend: backend.joint_attention(a, m, windows, length_B, *alphas) for backend in (banded, attention)
    ], (audio, motion))  # fmt: skip


@pytest.mark.parametrize("ticks", (MEL_TICKS, MOTION_TICKS))
def test_self_attention_equals_the_oracle(ticks):
    qkv, _ = streams(187)
    valid_BT = attention.valid_frames(jnp.array([187, 100, 0]), 187)
    for window, valid in ((SHORT, valid_BT), (Fraction(0), None), (None, valid_BT)):
        agree([
            lambda *qkv, backend=backend, window=window, valid=valid: backend.self_attention(qkv, valid, window, ticks)
            for backend in (banded, attention)
        ], qkv)  # fmt: skip


def test_no_array_of_all_rows_and_all_keys_exists_under_finite_windows():
    audio, motion = streams(2250, batch=1)
    largest = {}
    for name, backend in (("banded", banded), ("dense", attention)):
        windows = WindowConfig(audio_audio=SHORT)
        jaxpr = jax.make_jaxpr(lambda a, m, backend=backend, windows=windows: backend.joint_attention(a, m, windows))(audio, motion)
        largest[name] = max(v.aval.size for equation in jaxpr.eqns for v in equation.outvars)
    assert largest["dense"] >= 2250 * 2250
    assert largest["banded"] <= 2 * 2280 * 90  # heads x rows x a neighbourhood of mel frames


def test_bfloat16_keeps_float32_logits():
    audio, motion = (tuple(x.astype(jnp.bfloat16) for x in stream) for stream in streams(240))
    ours, oracle = (backend.joint_attention(audio, motion, WindowConfig()) for backend in (banded, attention))
    for a, b in zip(ours, oracle):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), atol=2e-2)
