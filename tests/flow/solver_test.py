"""Grids against F5-TTS's formulas, steps against the order of their error."""
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.flow.solver import EPSS, solve, time_grid


def test_sway_of_minus_one_is_a_cosine():
    t = np.linspace(0, 1, 33)
    np.testing.assert_allclose(time_grid("sway", 32), 1 - np.cos(np.pi / 2 * t), atol=1e-7)


def test_epss_is_swayed_after_the_table():
    t = np.array([0, 2, 4, 6, 8, 16, 24, 32]) / 32
    np.testing.assert_allclose(time_grid("epss", 7), t - (np.cos(np.pi / 2 * t) - 1 + t), atol=1e-7)
    np.testing.assert_allclose(time_grid("epss", 7, 0.0), t)
    np.testing.assert_allclose(time_grid("epss", 8), time_grid("sway", 8))


@pytest.mark.parametrize("name", ["uniform", "sway", "epss"])
@pytest.mark.parametrize("steps", [1, 4, *EPSS, 32])
def test_grids_run_from_zero_to_one(name, steps):
    grid = time_grid(name, steps)
    assert grid.shape == (steps + 1,) and grid.dtype == np.float32
    assert grid[0] == 0 and abs(grid[-1] - 1) < 1e-6 and np.all(np.diff(grid) > 0)


@pytest.mark.parametrize("arguments", [("cosine", 4), ("sway", 0), ("sway", 8, -2.0), ("sway", 8, 3.0)])
def test_impossible_grids_are_refused(arguments):
    with pytest.raises(InputError):
        time_grid(*arguments)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_order_of_convergence(method, order):
    """dy/dt = y cos t has y(1) = y(0) e^{sin 1}; halving the step divides the error by 2^order."""
    y0 = {"a": jnp.ones((2,)), "b": jnp.full((3,), 2.0)}

    def error(steps):
        y = solve(lambda t, y: {k: v * jnp.cos(t) for k, v in y.items()}, y0, time_grid("uniform", steps), method)
        np.testing.assert_allclose(y["b"][0], 2 * y["a"][0], rtol=1e-6)
        return abs(float(y["a"][0]) - np.exp(np.sin(1)))

    assert np.log2(error(8) / error(16)) == pytest.approx(order, abs=0.35)


def test_a_straight_path_is_exact_in_any_number_of_steps():
    x0, x1 = jnp.zeros((4,)), jnp.arange(4.0)
    for method in ("euler", "midpoint", "heun"):
        np.testing.assert_allclose(solve(lambda t, y: x1 - x0, x0, time_grid("sway", 3), method), x1, atol=1e-6)


def test_unknown_method_is_refused():
    with pytest.raises(InputError, match="rk4"):
        solve(lambda t, y: y, jnp.ones(1), time_grid("uniform", 2), "rk4")
