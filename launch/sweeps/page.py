"""The page of a sweep: one HTML file with the question, the table with its intervals, the losses behind it and every run."""
import json
import math
import string
from collections.abc import Sequence
from html import escape
from pathlib import Path

from jamflow_jax.evaluate.bootstrap import Interval
from jamflow_jax.train import metrics
from launch.evaluation.page import card
from launch.outputs.charts import Series, interval, line_chart
from launch.report import HERE, installed_version
from launch.sweeps.plan import Metric, Sweep, text
from launch.sweeps.results import Cell, Line

CURVES = 6  # rows whose losses are drawn
LOOKS = ("s-motion", "s-truth")


def page(sweep: Sweep, cells: Sequence[Cell], lines: Sequence[Line], folder: Path, command: str) -> str:
    """The whole file."""
    body = [_header(sweep, cells), *(_metric(sweep, metric, lines) for metric in sweep.metrics), _samples(lines),
            _losses(sweep, lines, folder), _runs(cells),
            f"<section><h2>Again</h2><p><code>{escape(command)}</code></p></section>"]  # fmt: skip
    frame = string.Template((HERE / "report.html").read_text(encoding="utf-8"))
    return frame.substitute(
        title=escape(f"{sweep.name}: {sweep.question}"),
        css=(HERE / "report.css").read_text(encoding="utf-8"),
        body="\n".join(body),
        footer=f"Made by <code>jamflow sweep</code>, jamflow-jax {escape(installed_version())}. This one file is all of it.",
    )  # fmt: skip


def _header(sweep: Sweep, cells: Sequence[Cell]) -> str:
    states = [cell.status.state for cell in cells]
    seconds = sum({cell.run: cell.status.cpu_seconds for cell in cells}.values())
    tiles = [
        (f"{states.count('finished')}/{len(states)}", "rows and seeds finished"),
        (str(len({cell.run for cell in cells})), f"trainings of {Path(sweep.base).stem}"),
        (f"{seconds / 3600:.1f} h", "of CPU time, all runs together"),
        (", ".join(map(str, sweep.seeds)), "seeds, the same for every row"),
    ]
    shown_tiles = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in tiles)
    return f"""<header>
<div class="over">JAM-Flow &middot; sweep {escape(sweep.name)}</div>
<h1>{escape(sweep.question)}</h1>
<p class="lead">Every row is run with every seed. Figures are means over seeds with 95 % t intervals; differences are taken seed by
seed from the row &ldquo;{escape(sweep.compared_with)}&rdquo;, and are sure where their interval excludes 0.</p>
</header>
<div class="tiles">{shown_tiles}</div>"""


def _metric(sweep: Sweep, metric: Metric, lines: Sequence[Line]) -> str:
    pairs = [(line.values[metric.key], line.differences[metric.key]) for line in lines]
    domains = _domain([value for value, _ in pairs]), _domain([difference for _, difference in pairs], zero=True)
    rows = []
    for line, pair in zip(lines, pairs):
        cells = "".join(
            f'<td class="value">{_words(found)}</td><td>{_drawn(found, look, domain)}</td>'
            for found, look, domain in zip(pair, LOOKS, domains)
        )
        ours = " class=ours" if line.row == sweep.compared_with else ""
        rows.append(f"<tr{ours}><td>{escape(line.row)}<small>{_values(sweep, line.row)}</small></td>"
                    f"<td>{line.finished}/{len(line.cells)}</td>{cells}</tr>")  # fmt: skip
    baseline = escape(sweep.compared_with)
    return f"""<section>
<h2>{escape(metric.name)}</h2>
<p class="about"><code>{escape(metric.key)}</code>{"" if metric.better == "neither" else f", {metric.better} is better"}.</p>
<div class="scroll"><table>
<thead><tr><th></th><th>seeds</th><th colspan="2">mean over seeds</th><th colspan="2">minus {baseline}</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>
</section>"""


def _samples(lines: Sequence[Line]) -> str:
    """The first clip of every task with the first seed: the truth, then what each row made of it."""
    cards: dict[str, list[str]] = {}  # task -> the truth and the rows
    for line in lines:
        found = next((cell.evaluation for cell in line.cells if cell.evaluation is not None), None)
        for path in sorted(found.glob("*.json")) if found else ():
            result = json.loads(path.read_text(encoding="utf-8"))
            for clip in result.get("shown", ())[:1]:
                files = {row: path.parent / file for row, file in clip["files"].items() if (path.parent / file).is_file()}
                there = cards.setdefault(result["task"], [card(files["truth"], "truth", clip)] if "truth" in files else [])
                there += [card(files["model"], line.row, clip)] if "model" in files else []
    parts = "".join(f'<h3>{escape(task)}</h3><div class="cards">{"".join(found)}</div>' for task, found in cards.items())
    about = '<p class="about">The first clip, the first seed.</p>'
    return f"<section><h2>Hear it, see it</h2>{about}{parts}</section>" if parts else ""


def _losses(sweep: Sweep, lines: Sequence[Line], folder: Path) -> str:
    figures = []
    for line in lines[:CURVES]:
        workdirs = [folder / "runs" / cell.run for cell in line.cells]
        logs = [metrics.read(workdir) for workdir in workdirs if (workdir / "metrics.jsonl").exists()]
        series = [
            Series(stream if n == 0 else "", [x["step"] for x in log if stream in x], [x[stream] for x in log if stream in x],
                   f"s-{stream}", faint=n > 0)
            for n, log in enumerate(logs) for stream in ("audio", "motion")
        ]  # fmt: skip
        if chart := line_chart(series, "step", f"training loss, {line.row}", 500, 220):
            figures.append(f"<figure>{chart}</figure>")
    if not figures:
        return ""
    return f'<section><h2>How they learnt</h2><div class="two" style="margin-top:18px">{"".join(figures)}</div></section>'


def _runs(cells: Sequence[Cell]) -> str:
    rows = "".join(
        f"<tr><td>{escape(cell.row)}</td><td>{cell.seed}</td><td><code>{escape(cell.run)}</code></td><td>{cell.status.state}"
        f"<small>{escape(cell.status.said)}</small></td><td class=value>{cell.status.seconds:.0f} s"
        f"<small>{cell.status.cpu_seconds:.0f} s of CPU</small></td></tr>"
        for cell in cells
    )
    head = "".join(f"<th>{name}</th>" for name in ("row", "seed", "training", "state", "time"))
    return f"""<section>
<h2>Every run</h2>
<div class="scroll"><table class="steps"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
</section>"""


def _values(sweep: Sweep, row: str) -> str:
    values = sweep.named_rows()[row]
    return escape(", ".join(f"{field}={text(value)}" for field, value in values.items()) or f"{Path(sweep.base).stem} as it is")


def _words(value: Interval | None) -> str:
    if value is None:
        return ""
    ends = "" if math.isnan(value.low) else f"<span>{value.low:.3f} to {value.high:.3f}</span>"
    return f"<b>{value.mean:.3f}</b>{ends}".replace("-", "\u2212")


def _drawn(value: Interval | None, look: str, domain: tuple[float, float]) -> str:
    if value is None:
        return ""
    low, high = (value.mean, value.mean) if math.isnan(value.low) else (value.low, value.high)
    return interval(value.mean, low, high, look, domain)


def _domain(values: Sequence[Interval | None], zero: bool = False) -> tuple[float, float]:
    """The axis that holds all intervals, and 0 where asked."""
    ends = [x for v in values if v for x in (v.mean, v.low, v.high) if not math.isnan(x)] + [0.0] * zero
    if not ends:
        return 0.0, 1.0
    room = 0.05 * max(max(ends) - min(ends), 1e-6)
    return min(ends) - room, max(ends) + room
