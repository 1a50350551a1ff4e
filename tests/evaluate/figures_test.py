import json

import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.figures import Measure, Table, means, merge

ERRORS = np.array([[1.0, 2.0], [0.0, 6.0], [0.0, 0.0]])
TABLE = Table(
    "speech", "speech, 3 clips", (Measure("wer", "WER", "", "lower"), Measure("r", "r"), Measure("never", "never")),
    {"model": {"wer": ERRORS, "r": means([0.5, None, 0.7])}, "truth": {"wer": 0 * ERRORS + [0, 1], "r": means([1, 1, 1])}},
)  # fmt: skip


def test_rates_weigh_by_their_denominator():
    assert TABLE.cell("model", "wer").mean == pytest.approx(1 / 8) and TABLE.cell("model", "wer").count == 2
    assert TABLE.cell("model", "r").mean == pytest.approx(0.6)
    assert TABLE.cell("model", "never") is None
    assert TABLE.minus("model", "truth", "r").mean == pytest.approx(-0.4)


def test_forms():
    values = json.loads(json.dumps(TABLE.to_json()))
    assert set(values["rows"]["model"]) == {"wer", "r"} and values["minus"]["truth"]["wer"]["mean"] == pytest.approx(1 / 8)
    assert values["per_clip"]["model"]["wer"] == ERRORS.tolist()
    assert "WER ↓" in TABLE.markdown() and "never" not in TABLE.markdown() and TABLE.text().count("model") == 1


def test_parts_are_joined():
    parts = [{row: {key: pairs[i : i + 1] for key, pairs in of.items()} for row, of in TABLE.rows.items()} for i in range(3)]
    joined = merge(parts)
    assert all((joined[row][key] == TABLE.rows[row][key]).all() for row in joined for key in joined[row])
    with pytest.raises(InputError, match="for some clips only"):
        merge([parts[0], {"model": {"wer": ERRORS[:1]}}])
