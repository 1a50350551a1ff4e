"""The comparison every backend of attention has to pass: values and gradients equal the dense oracle's."""
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.model import attention
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.timeline import motion_frames

SHORT, ODD, LONG = Fraction(7, 25), Fraction(123457, 1000003), Fraction(9, 10)
CASES = (  # mel frames, lengths, windows
    (240, None, WindowConfig()),
    (187, (187, 100, 1), WindowConfig()),  # no whole number of blocks or motion frames
    (240, (240, 91, 92), WindowConfig(Fraction(0), Fraction(0), Fraction(0))),
    (240, (240, 16, 15), WindowConfig(ODD, SHORT, None, ODD)),
    (240, (3, 239, 240), WindowConfig(None, LONG, SHORT, LONG)),  # LONG: dense, under a mask
    (300, (300, 150, 299), WindowConfig(SHORT, None, SHORT, SHORT, keep_when_alone=False)),
    (61, (61, 60, 59), WindowConfig(SHORT, Fraction(1, 25), None)),
    (187, (187, 100, 0), WindowConfig(None, None, None, keep_when_alone=False)),
)


def _streams(frames, batch=3, heads=2, width=8):
    rng = np.random.default_rng(0)
    draw = lambda t: tuple(jnp.asarray(rng.normal(size=(batch, t, heads, width)), jnp.float32) for _ in range(3))  # noqa: E731
    return draw(frames), draw(motion_frames(frames))


def _agree(functions, args, atol=2e-6, norm=None):
    """Outputs, and the gradient of their projections on fixed random directions, with respect to every array.

    A number may be off by `atol`, in a gradient ten times that, and an array by `norm`, `atol` by default, of its norm (of 10 where
    that is less).
    """

    def scalar(function):
        def f(args):
            leaves = jax.tree.leaves(function(*args))
            return sum(jnp.vdot(leaf.astype(jnp.float32).ravel(), jnp.cos(jnp.arange(leaf.size))) for leaf in leaves), leaves

        return jax.jit(jax.value_and_grad(f, has_aux=True))(args)

    def close(ours, oracle, most):
        assert ours.dtype == oracle.dtype
        ours, oracle = np.asarray(ours, np.float32), np.asarray(oracle, np.float32)
        np.testing.assert_allclose(ours, oracle, atol=most)
        assert np.linalg.norm(ours - oracle) <= (norm or atol) * max(10, np.linalg.norm(oracle))

    ((_, out), grad), ((_, expected), expected_grad) = map(scalar, functions)
    jax.tree.map(lambda a, b: close(a, b, atol), out, expected)
    jax.tree.map(lambda a, b: close(a, b, 10 * atol), grad, expected_grad)


@pytest.fixture
def streams():
    """A function (mel frames, batch, heads, width) -> (queries, keys, values) of audio and of motion."""
    return _streams


@pytest.fixture
def agree():
    return _agree


@pytest.fixture(params=CASES, ids=str)
def agree_jointly(request):
    """A function of a backend, which fails unless its `joint_attention` equals the oracle's in one of many cases."""
    frames, lengths, windows = request.param
    length_B = None if lengths is None else jnp.array(lengths)
    alphas = () if lengths is None else (jnp.array([True, False, True]), jnp.array([False, False, True]))

    def compare(backend, atol=2e-6, norm=None, dtype=jnp.float32, width=8):
        functions = [lambda a, m, to=to: to.joint_attention(a, m, windows, length_B, *alphas) for to in (backend, attention)]
        _agree(functions, jax.tree.map(lambda x: x.astype(dtype), _streams(frames, width=width)), atol, norm)

    return compare


@pytest.fixture
def agree_with_float32_logits():
    """A function of a backend, which fails unless bfloat16 with logits around 10, where its steps are 1/16, gives the oracle's."""

    def compare(backend):
        args = jax.tree.map(lambda x: x.astype(jnp.bfloat16), [(10 * q, k, v) for q, k, v in _streams(240, width=64)])
        functions = [lambda a, m, to=to: to.joint_attention(a, m, WindowConfig()) for to in (backend, attention)]
        _agree(functions, args, atol=2e-2, norm=1e-2)

    return compare
