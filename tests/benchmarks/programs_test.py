"""The programs are what benchmarks/programs.json says; `python -m benchmarks.programs --write` records them anew."""
import copy

import jax
import jax.numpy as jnp
import pytest

from benchmarks import programs


@pytest.fixture(scope="module")
def traced():
    return programs.programs()


def test_the_traced_programs_do_no_more_than_recorded(traced):
    measured = {name: programs.count(program.jaxpr.jaxpr) for name, program in traced.items()}
    recorded = programs.recorded()
    assert not programs.problems(measured, recorded)
    slower = copy.deepcopy(measured)
    slower["train step"]["work"] = int(1.1 * slower["train step"]["work"])
    assert len(programs.problems(slower, recorded)) == 1
    assert not programs.problems(measured, {"99.0.0": measured}) and jax.__version__ != "99.0.0"


def test_a_loop_counts_as_often_as_it_runs():
    def steps(x, w):
        return jax.lax.scan(lambda x, _: (x @ w, x.sum()), x, None, length=5)[0]

    found = programs.count(jax.make_jaxpr(steps)(jnp.ones((2, 3)), jnp.ones((3, 3))).jaxpr)
    assert found == {"work": 5 * 2 * (2 * 3) * 3, "matmuls": 5, "elements": 5 * (6 + 1), "kept": 5 * 4}


def test_the_compiled_programs_have_not_grown(traced):
    measured = {name: programs.measure(program.lower().compile()) for name, program in traced.items()}
    assert not programs.problems(measured, programs.recorded())
