"""Every sweep of the package plans in both forms, has a question, and names its file after it."""
from pathlib import Path

import pytest

import configs
from launch.sweeps import plan

NAMES = sorted(path.stem for path in (Path(configs.__path__[0]) / "sweeps").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_sweep(name):
    sweep = plan.read(name)
    assert sweep.question.endswith("?") and sweep.compared_with in sweep.named_rows()
    whole, small = plan.plan(sweep), plan.plan(plan.smallest(sweep))
    assert len(sweep.seeds) == (5 if sweep.synthetic else 3) and len(whole) >= 5
    assert len(small) <= 6  # a quarter of an hour
    measured = {data for run in whole for e in run.evaluations for data in e.words[1].split(",")}
    assert measured <= {data.path for data in sweep.synthetic} or measured == {"runs/grid/data"}
    assert all("test" not in evaluation.words for run in whole for evaluation in run.evaluations)  # nothing is tuned on it
