"""Figures are grouped over seeds, best first, and compared seed by seed."""
import csv
import dataclasses
import io
import re

import pytest

from jamflow_jax.errors import InputError
from launch.sweeps import execute, plan, results, states


def test_table(sweep, done):
    lines = results.table(sweep, done)
    assert [line.row for line in lines] == ["high", "low 9", "low", "bad"]  # the best first, those without a figure last
    high, low = lines[0], lines[2]
    assert high.values["rows.model.r"].mean == pytest.approx(0.3 + 0.5 + 0.04)
    difference = high.differences["rows.model.r"]  # each seed moves both rows by 1: the pairs do not see it
    assert difference.low == pytest.approx(0.2) and difference.high == pytest.approx(0.2) and difference.count == 2
    assert high.values["rows.model.r"].low < -3  # two seeds one apart
    assert low.differences["rows.model.r"] is None and lines[3].values["rows.model.r"] is None and lines[3].finished == 0
    assert results.missing(sweep, done) == []
    text = results.table_text(sweep, lines)
    assert "0.200 [0.200, 0.200]" in text.splitlines()[1] and text.splitlines()[4].split() == ["bad", "0/2", "-", "-", "-", "-"]

    text = results.table_markdown(sweep, lines)
    assert text.startswith("| Which rate? | seeds | r ↑ | train.loss ↓ |\n")
    assert "<br>+0.200 [0.200, 0.200] | 0.300 [" in text and "| bad | 0 | - | - |" in text

    rows = list(csv.DictReader(io.StringIO(results.table_csv(sweep, lines))))
    assert rows[0]["row"] == "high" and rows[3]["train.loss"] == ""
    assert float(rows[0]["rows.model.r_difference"]) == pytest.approx(0.2)
    rows = list(csv.DictReader(io.StringIO(results.runs_csv(done))))
    assert len(rows) == 8 and {row["state"] for row in rows if row["row"] == "bad"} == {"failed"}
    assert float(rows[1]["rows.model.r"]) == pytest.approx(0.1 + 0.09) and "curves" not in rows[0]


def test_the_seed_of_a_run_is_that_of_its_training(done):
    cells = [dataclasses.replace(cell, figures={**cell.figures, "seed": 7.0}) for cell in done]  # of the evaluation's noise
    rows = list(csv.DictReader(io.StringIO(results.runs_csv(cells))))
    assert [row["seed"] for row in rows] == [str(cell.seed) for cell in cells]


def test_a_figure_that_no_run_has_is_told(sweep, done):
    cells = [dataclasses.replace(cell, figures={"train.loss": 1.0}) for cell in done]
    assert results.missing(sweep, cells) == ["rows.model.r"]


def test_figures_of_several_files_do_not_mix(tmp_path):
    (tmp_path / "a.json").write_text('{"r": {"mean": 1, "name": "x", "sure": true}, "curves": [1]}')
    assert results._evaluation(tmp_path) == {"r.mean": 1.0}
    (tmp_path / "b.json").write_text('{"r": {"mean": 2}}')
    assert results._evaluation(tmp_path) == {"a.r.mean": 1.0, "b.r.mean": 2.0}


def test_a_cut_evaluation_is_one_line_and_measured_again(sweep, done, tmp_path):
    out, (run, *_) = tmp_path / "out", plan.plan(sweep)
    status, (path, *_) = out / "status" / f"{run.name}.json", sorted((out / "runs" / run.name).glob("evaluation/*/*.json"))
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    said = f"{re.escape(str(path))}: not the JSON of an evaluation .*; remove {re.escape(str(status))}"
    with pytest.raises(InputError, match=said):
        results.collect(sweep, [run], states.settled(out, [run]), out)
    status.unlink()
    execute.execute(run, out, execute.Stop(), {})
    assert path.read_bytes() == whole
