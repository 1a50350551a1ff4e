"""Figures of merit over clips, and tables of them: rows are systems, columns are measures, every cell has an interval.

A measure gives each clip c a pair (a_c, b_c); its value over a set of clips is

    value = sum_c a_c / sum_c b_c                                                                                    (1)

with b = 1 for plain means over clips, words spoken for a word error rate, 2 TP + FP + FN for an F1, and (0, 0) where a clip has
nothing to say. Intervals are quantiles of (1) over clips drawn with replacement (bootstrap.py); two rows are compared on the same
draws. Lower or higher is better, or neither: `Measure.better`.
"""
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.bootstrap import Interval, ratio, ratio_difference


@dataclasses.dataclass(frozen=True)
class Measure:
    """A column: its key in JSON, its words in a heading, its unit, which way is better ("lower", "higher", "")."""

    key: str
    label: str
    unit: str = ""
    better: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows x measures x clips of pairs (a_c, b_c)."""

    name: str
    title: str
    measures: tuple[Measure, ...]
    rows: Mapping[str, Mapping[str, np.ndarray]]  # row -> measure key -> [C, 2]
    note: str = ""
    seed: int = 0

    def cell(self, row: str, key: str) -> Interval | None:
        """Value and 95 % interval; None where no clip has anything to say."""
        pairs_C2 = self.rows[row].get(key)
        if pairs_C2 is None or not pairs_C2[:, 1].sum() > 0:
            return None
        return ratio(pairs_C2[:, 0], pairs_C2[:, 1], seed=self.seed)

    def minus(self, row: str, other: str, key: str) -> Interval | None:
        """row - other over the same clips, with its interval; sure when it excludes 0."""
        if self.cell(row, key) is None or self.cell(other, key) is None:
            return None
        ours_C2, theirs_C2 = self.rows[row][key], self.rows[other][key]
        return ratio_difference(ours_C2[:, 0], ours_C2[:, 1], theirs_C2[:, 0], theirs_C2[:, 1], seed=self.seed)

    def shown(self) -> tuple[Measure, ...]:
        """The measures that some row has a value of."""
        return tuple(m for m in self.measures if any(self.cell(row, m.key) is not None for row in self.rows))

    def markdown(self) -> str:
        """The table for a document."""
        measures = self.shown()
        lines = [f"| {self.title} | {' | '.join(map(heading, measures))} |", "|---" * (len(measures) + 1) + "|"]
        lines += [f"| {row} | {' | '.join(written(self.cell(row, m.key)) for m in measures)} |" for row in self.rows]
        return "\n".join(lines + (["", f"({self.note})"] if self.note else []))

    def text(self) -> str:
        """The table for a terminal, the measures below one another where they would not fit."""
        measures, lines = self.shown(), []
        width = max([len(self.title) - 2, *map(len, self.rows)]) + 2
        for start in range(0, len(measures), 4):
            part = measures[start : start + 4]
            lines.append(f"{self.title if not start else '':<{width + 2}}" + "".join(f"{m.label:<25}" for m in part).rstrip())
            for row in self.rows:
                lines.append(f"  {row:<{width}}" + "".join(f"{written(self.cell(row, m.key)):<25}" for m in part).rstrip())
        return "\n".join(lines)

    def to_json(self, against: str = "model") -> dict[str, Any]:
        """Plain values under stable keys (docs/evaluation.md)."""
        measures = self.shown()
        result: dict[str, Any] = {
            "title": self.title, "note": self.note,
            "measures": {m.key: {"label": m.label, "unit": m.unit, "better": m.better} for m in measures},
            "rows": {row: {m.key: to_json(self.cell(row, m.key)) for m in measures} for row in self.rows},
            "per_clip": {
                row: {m.key: [[_short(a), _short(b)] for a, b in of[m.key]] for m in measures if m.key in of}
                for row, of in self.rows.items()
            },
        }  # fmt: skip
        if against in self.rows:
            result["minus"] = {
                other: {m.key: to_json(self.minus(against, other, m.key)) for m in measures}
                for other in self.rows if other != against
            }  # fmt: skip
        return result


def means(values_C: Sequence[float | None] | Float[np.ndarray, "C"]) -> Float[np.ndarray, "C 2"]:
    """Pairs (1) of a plain mean: (value, 1), or (0, 0) where the value is None or nan."""
    values_C = np.array([np.nan if value is None else value for value in values_C], np.float64)
    there_C = ~np.isnan(values_C)
    return np.stack([np.where(there_C, values_C, 0.0), there_C.astype(np.float64)], axis=1)


def heading(measure: Measure) -> str:
    """"WER (%), lower is better"."""
    unit = f" ({measure.unit})" if measure.unit else ""
    return f"{measure.label}{unit}{dict(lower=' ↓', higher=' ↑').get(measure.better, '')}"


def written(interval: Interval | None) -> str:
    """"0.812 [0.790, 0.833]", or a dash."""
    return "-" if interval is None else str(interval)


def to_json(interval: Interval | None) -> dict[str, float] | None:
    """{"mean", "low", "high", "count"}, or None."""
    return None if interval is None else dataclasses.asdict(interval)


def merge(parts: Sequence[Mapping[str, Mapping[str, np.ndarray]]]) -> dict[str, dict[str, np.ndarray]]:
    """Rows of measures (as in `Table.rows`) of the same systems over different clips, one after the other.

    Raises:
      InputError: parts that do not have the same rows and measures.
    """
    names = {(row, key) for part in parts for row, of in part.items() for key in of}
    for part in parts:
        if missing := names - {(row, key) for row, of in part.items() for key in of}:
            raise InputError(f"scores of {sorted(missing)[0]} are there for some clips only")
    first = parts[0]
    return {row: {key: np.concatenate([part[row][key] for part in parts]) for key in of} for row, of in first.items()}


def _short(value: float) -> float:
    return float(f"{value:.6g}")
