"""The compiled programs are what benchmarks/programs.json says; `python -m benchmarks.programs --write` records them anew."""
import copy

import jax
import pytest

from benchmarks import programs


@pytest.mark.slow
def test_the_compiled_programs_have_not_grown():
    measured = {name: programs.measure(compiled) for name, compiled in programs.programs().items()}
    recorded = programs.recorded()
    assert not programs.problems(measured, recorded)
    slower = copy.deepcopy(measured)
    slower["train step"]["flops"] = int(1.1 * slower["train step"]["flops"])
    assert len(programs.problems(slower, recorded)) == 1
    assert not programs.problems(measured, {"99.0.0": measured}) and jax.__version__ != "99.0.0"
