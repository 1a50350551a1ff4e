"""What a sweep found: the figures of every row and seed, grouped over seeds, best row first.

A row's figure is its mean over seeds with the t interval of evaluate/seeds.py; its difference from the baseline row is taken
seed by seed. Runs that are not finished, or have no such figure, are left out and counted. Two CSV files: one line a row, one line
a run.
"""
import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.bootstrap import Interval
from jamflow_jax.evaluate.seeds import over_seeds
from jamflow_jax.train import metrics
from launch.sweeps.plan import Run, Sweep
from launch.sweeps.states import FINISHED, Status, status_file


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row with one seed."""

    row: str
    seed: int
    run: str
    status: Status
    figures: Mapping[str, float]  # dotted key -> value; empty unless finished
    evaluation: Path | None = None  # where `jamflow evaluate` left this row's files; None unless finished


@dataclasses.dataclass(frozen=True)
class Line:
    """One row over its seeds; per metric key, None where no run has it (a difference: where no seed is shared)."""

    row: str
    cells: tuple[Cell, ...]
    values: Mapping[str, Interval | None]
    differences: Mapping[str, Interval | None]  # from the baseline, over shared seeds; the baseline has none

    @property
    def finished(self) -> int:
        """Seeds that count."""
        return sum(cell.status.state == FINISHED for cell in self.cells)


def collect(sweep: Sweep, runs: Sequence[Run], statuses: Mapping[str, Status], folder: str | Path) -> list[Cell]:
    """Every row and seed, with the figures of those that are finished."""
    cells = []
    for run in runs:
        workdir, found = Path(folder) / "runs" / run.name, statuses[run.name]
        for row in run.rows:
            figures, measured = {}, None
            if found.state == FINISHED:
                figures = _training(workdir)
                for evaluation in run.evaluations:
                    if evaluation.row == row:
                        measured = workdir / "evaluation" / evaluation.folder
                        figures |= _evaluation(measured)
            cells.append(Cell(row, run.seed, run.name, found, figures, measured))
    return cells


def table(sweep: Sweep, cells: Sequence[Cell]) -> list[Line]:
    """Rows, the best by the first metric first; rows without a figure last."""
    lines = []
    for row in sweep.named_rows():
        mine = {cell.seed: cell for cell in cells if cell.row == row}
        base = {cell.seed: cell for cell in cells if cell.row == sweep.compared_with}
        values, differences = {}, {}
        for key in (metric.key for metric in sweep.metrics):
            values[key] = _interval([cell.figures[key] for cell in mine.values() if key in cell.figures])
            shared = [s for s in mine if key in mine[s].figures and s in base and key in base[s].figures]
            pairs = [mine[s].figures[key] - base[s].figures[key] for s in shared]
            differences[key] = None if row == sweep.compared_with else _interval(pairs)
        lines.append(Line(row, tuple(mine.values()), values, differences))
    first = sweep.metrics[0]
    sign = 1 if first.better == "lower" else -1
    return sorted(lines, key=lambda line: sign * line.values[first.key].mean if line.values[first.key] else math.inf)


def missing(sweep: Sweep, cells: Sequence[Cell]) -> list[str]:
    """Metrics that no finished run has, though some are finished."""
    done = [cell for cell in cells if cell.figures]
    return [metric.key for metric in sweep.metrics if done and not any(metric.key in cell.figures for cell in done)]


def table_csv(sweep: Sweep, lines: Sequence[Line]) -> str:
    """One line a row: mean, low and high of every metric and of its difference from the baseline."""
    ends = ("", "_low", "_high")
    head = ["row", "seeds"] + [f"{m.key}{d}{e}" for m in sweep.metrics for d in ("", "_difference") for e in ends]
    body = [[line.row, line.finished, *(x for i in _both(sweep, line) for x in _three(i))] for line in lines]
    return _csv([head, *body])


def runs_csv(cells: Sequence[Cell]) -> str:
    """One line a run, with everything that was measured; of a figure called as a column before it the column stays (`seed`: of the
    training, not of the evaluation's noise)."""
    columns = ("row", "seed", "run", "state", "seconds", "cpu_seconds")
    keys = sorted({key for cell in cells for key in cell.figures}.difference(columns))
    body = [
        [c.row, c.seed, c.run, c.status.state, c.status.seconds, c.status.cpu_seconds, *(c.figures.get(key, "") for key in keys)]
        for c in cells
    ]
    return _csv([[*columns, *keys], *body])


def table_text(sweep: Sweep, lines: Sequence[Line]) -> str:
    """The table for a terminal."""
    head = ["", "seeds"] + [word for m in sweep.metrics for word in (m.name, "difference")]
    body = [[line.row, f"{line.finished}/{len(line.cells)}", *map(shown, _both(sweep, line))] for line in lines]
    widths = [max(map(len, column)) for column in zip(head, *body)]
    rows = ["  ".join(f"{word:<{width}}" for word, width in zip(row, widths)).rstrip() for row in (head, *body)]
    return "\n".join([*rows, f"(mean over seeds [95 % t interval]; differences from {sweep.compared_with!r}, seed by seed)"])


def table_markdown(sweep: Sweep, lines: Sequence[Line]) -> str:
    """The table for a document: of every metric the mean over seeds and, below it, the difference from the baseline."""
    arrows = {"higher": " ↑", "lower": " ↓", "neither": ""}
    head = [sweep.question, "seeds", *(m.name + arrows[m.better] for m in sweep.metrics)]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for line in lines:
        words = []
        for metric in sweep.metrics:
            value, difference = line.values[metric.key], line.differences[metric.key]
            words.append(shown(value) + (f"<br>{_signed(difference)}" if difference else ""))
        rows.append(f"| {line.row} | {line.finished} | {' | '.join(words)} |")
    note = f"(mean over seeds [95 % t interval]; below it the difference from {sweep.compared_with!r}, seed by seed.)"
    return "\n".join([*rows, "", note]) + "\n"


def shown(value: Interval | None) -> str:
    """0.512 [0.480, 0.544]; the mean alone of a single seed."""
    return "-" if value is None else f"{value.mean:.3f}" if math.isnan(value.low) else str(value)


def _signed(difference: Interval) -> str:
    """+0.031 [0.020, 0.042], so that it is not taken for a value."""
    return f"{'+' * (difference.mean >= 0)}{shown(difference)}"


def _both(sweep: Sweep, line: Line) -> list[Interval | None]:
    return [found[metric.key] for metric in sweep.metrics for found in (line.values, line.differences)]


def _interval(values: list[float]) -> Interval | None:
    return over_seeds(values) if values else None


def _training(workdir: Path) -> dict[str, float]:
    """train.* and validation.*: of the last line of each split, without the step."""
    last = {split: metrics.read(workdir, split)[-1:] for split in ("train", "validation")}
    return {f"{split}.{name}": value for split, lines in last.items() for line in lines for name, value in _flat(line).items()
            if name != "step"}  # fmt: skip


def _evaluation(folder: Path) -> dict[str, float]:
    """All numbers in the JSON that `jamflow evaluate` wrote, by their dotted path; of several files after the file's name.

    Raises InputError: a file is damaged.
    """
    files = sorted(folder.glob("*.json"))
    found = {}
    for path in files:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            status = status_file(folder.parents[3], folder.parents[1].name)
            raise InputError(f"{path}: not the JSON of an evaluation ({error}); remove {status}, and it is made again") from None
        found |= _flat(values, path.stem if len(files) > 1 else "")
    return found


def _flat(value: Any, path: str = "") -> dict[str, float]:
    if isinstance(value, Mapping):
        parts = (_flat(inner, f"{path}.{name}" if path else name) for name, inner in value.items())
        return {key: number for part in parts for key, number in part.items()}
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return {path: float(value)} if number else {}


def _three(value: Interval | None) -> list[float | str]:
    return ["", "", ""] if value is None else [value.mean, *("" if math.isnan(x) else x for x in (value.low, value.high))]


def _csv(rows: list[list]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
