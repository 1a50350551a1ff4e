"""Statistics: streaming equals at once, JSON keeps every bit, dead dimensions carry nothing."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jamflow_jax.errors import InputError
from jamflow_jax.motion import space
from jamflow_jax.motion.normalise import Statistics

finite = st.floats(-100, 100, width=32)


def clips(seed=0, n=7, d=3):
    rng = np.random.default_rng(seed)
    scale = np.array([1e-2, 1e-6, 1.0])[:d]
    return [(1000.0 * np.arange(d) + scale * rng.standard_normal((rng.integers(1, 9), d))) for _ in range(n)]


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=finite), st.data())
def test_streaming_equals_at_once(x, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(x)), max_size=4)))
    streamed = Statistics.from_arrays(iter(np.split(x, cuts)))
    x = x.astype(np.float64)
    assert streamed.count == len(x)
    np.testing.assert_allclose(streamed.mean, x.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(streamed.std, x.std(0), rtol=1e-7, atol=1e-11)


def test_no_cancellation_far_from_zero():
    x = 1e8 + np.tile([[-1.0], [1.0]], (5000, 1))
    assert Statistics.from_arrays(np.split(x, 100)).std[0] == pytest.approx(1.0, abs=1e-9)


def test_floor_tells_dead_from_live():
    s = Statistics.from_arrays(clips())
    np.testing.assert_array_equal(s.live, [True, False, True])
    assert 0 < s.std[1] < 1e-5  # kept as measured
    assert Statistics.from_arrays(clips(), floor=1e-8).live.all()
    assert not Statistics.from_arrays([np.ones((5, 2))], floor=0.0).live.any()


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_json_is_bit_exact(seed):
    s = Statistics.from_arrays(clips(seed))
    back = Statistics.from_json(json.loads(json.dumps(s.to_json())))
    assert back == s == Statistics.from_json(json.dumps(s.to_json()))
    assert back.mean.tobytes() == s.mean.tobytes() and back.std.tobytes() == s.std.tobytes()
    assert back.mean.dtype == np.float64 and back.live.dtype == bool


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalise_and_back(dtype):
    x = np.concatenate(clips()).astype(dtype)
    s = Statistics.from_arrays([x])
    z = s.normalise(x)
    assert z.dtype == dtype
    np.testing.assert_allclose(z[:, s.live].astype(np.float64).std(0), 1, atol=1e-3)
    np.testing.assert_array_equal(z[:, ~s.live], 0)
    back = s.denormalise(z)
    np.testing.assert_allclose(back[:, s.live], x[:, s.live], rtol=1e-6)
    np.testing.assert_array_equal(
        back[:, ~s.live], np.broadcast_to(s.mean[~s.live].astype(dtype), back[:, ~s.live].shape)
    )
    garbage = np.where(s.live, z, np.nan)
    np.testing.assert_array_equal(s.denormalise(garbage), back)


def test_leading_axes_integers_and_jax():
    s = Statistics.from_arrays(clips())
    x = np.concatenate(clips())[:4].reshape(2, 2, 3).astype(np.float32)
    assert s.normalise(x).shape == (2, 2, 3)
    assert s.normalise(np.zeros((2, 3), np.int16)).dtype == np.float32
    jitted = jax.jit(s.normalise)(jnp.asarray(x))
    assert isinstance(jitted, jax.Array) and jitted.dtype == jnp.float32
    np.testing.assert_allclose(jitted, s.normalise(x), atol=2e-2)  # float32 near 2000 +- 1, 1000 dead
    np.testing.assert_allclose(jax.jit(s.denormalise)(jitted), s.denormalise(s.normalise(x)), rtol=1e-6)


def test_mouth_and_rest():
    lp = space.get("liveportrait")
    rng = np.random.default_rng(1)
    s = Statistics.from_arrays([rng.standard_normal((9, 63))])
    assert s.mouth(lp) == s.take(lp.mouth) and s.rest(lp).mean.size == 51
    x = rng.standard_normal((5, 63))
    np.testing.assert_array_equal(s.mouth(lp).normalise(lp.split(x)[0]), lp.split(s.normalise(x))[0])
    with pytest.raises(InputError, match="do not fit motion space lips of 2"):
        s.mouth(space.get("lips"))
    with pytest.raises(InputError, match="does not fit statistics of 63"):
        s.normalise(x[:, :3])


@pytest.mark.parametrize(
    "arrays, message",
    [
        ([], "no motion frame"),
        ([np.zeros((0, 3))], "no motion frame"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], "clip 1 has shape"),
        ([np.zeros(3)], "clip 0 has shape"),
        ([np.full((2, 2), np.inf)], "not finite"),
    ],
)
def test_bad_clips(arrays, message):
    with pytest.raises(InputError, match=message):
        Statistics.from_arrays(arrays)


@pytest.mark.parametrize(
    "values",
    [
        {},
        "nonsense",
        {"count": 1, "mean": [0.0], "std": [1.0, 2.0], "live": [True]},
        {"count": 1, "mean": [0.0], "std": [0.0], "live": [True]},
        {"count": 1, "mean": ["x"], "std": [1.0], "live": [True]},
    ],
)
def test_bad_json(values):
    with pytest.raises(InputError):
        Statistics.from_json(values)
