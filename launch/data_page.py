"""A data set on one page: how much of what, who speaks, how long, what was left out and why, and what a few clips look like."""
import json
import string
from html import escape
from pathlib import Path

import numpy as np

from data_pipelines import remote
from data_pipelines.dataset import DataSet
from data_pipelines.index import FLAGS, SPLITS
from jamflow_jax.errors import InputError
from launch.outputs.charts import Series, line_chart
from launch.outputs.sketch import opening
from launch.outputs.staging import write_text
from launch.outputs.video import mel_image
from launch.report import installed_version, png_address

HERE = Path(__file__).parent
SHOWN = 6  # clips
MOST = 12  # speakers, reasons' examples, dimensions
COUNTED = 1_000_000  # clips that the histogram and the speakers are counted over


def write_data_page(directory: str | Path, out: str | Path | None = None) -> str:
    """Writes the page of a data set (by default its report.html, at an address too); returns where. Raises InputError."""
    data = DataSet(directory)
    out = str(out or (f"{data.address}/report.html" if data.address else Path(directory) / "report.html"))
    parts = (_head(data), _splits(data), _lengths(data), _speakers(data), _left_out(data), _motion(data), _clips(data))
    frame = string.Template((HERE / "report.html").read_text(encoding="utf-8"))
    text = frame.substitute(
        title=f"{escape(data.path.name)}: a JAM-Flow data set", css=(HERE / "report.css").read_text(encoding="utf-8"),
        body="\n".join(filter(None, parts)),
        footer=f"Made by <code>jamflow data inspect</code>, jamflow-jax {escape(installed_version())}. This one file is all of it.",
    )  # fmt: skip
    if at := remote.address(out):
        remote.write(at, text.encode())
    else:
        write_text(Path(out), text)
    return out


def facts(data: DataSet) -> dict:
    """The same as numbers: what `jamflow data inspect` prints, and the first part of the page."""
    meta, report = data.meta, _report(data)
    lengths, at = _seconds(data), {"shortest": 0, "median": 50, "longest": 100}
    return {
        "clips": len(data), "hours": meta["seconds"] / 3600, "splits": meta["splits"], "with": meta["with"],
        "speakers": len(data.index.speakers), "space": meta["space"]["name"], "dims": len(data.space.dims),
        "tokenizer": f"{meta['tokenizer']}, {meta['vocab_size']} tokens", "speech_dim": meta["speech_dim"],
        "seconds": {name: round(float(np.percentile(lengths, q)), 2) for name, q in at.items()},
        "rejected": report.get("rejected_by_reason", {}), "noted": report.get("noted_by_kind", {}), "format": meta["format"],
        "shards": sum(name.startswith("data-") for name in meta["files"]), "fingerprint": meta["fingerprint"],
    }  # fmt: skip


def _report(data: DataSet) -> dict:
    try:
        path = remote.fetch(data.address, data.path, "report.json") if data.address else data.path / "report.json"
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _seconds(data: DataSet) -> np.ndarray:
    return np.asarray(data.index.length[:COUNTED]) * 256 / 24_000


def _head(data: DataSet) -> str:
    what = facts(data)
    rejected = sum(what["rejected"].values())
    hours = f"{what['hours']:.1f} h" if what["hours"] >= 1 else f"{60 * what['hours']:.1f} min"
    tiles = [
        (hours, f"{what['clips']:,} clips in {what['shards']} shards"), (f"{what['speakers']:,}", "speakers named"),
        (what["space"], f"motion space, {what['dims']} dimensions"), (f"{what['seconds']['median']:g} s", "median length"),
        (f"{rejected:,}", "inputs rejected"),
    ]  # fmt: skip
    cells = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(about)}</span></div>' for value, about in tiles)
    have = ", ".join(f"{count:,} with {name}" for name, count in what["with"].items() if count)
    return f"""<header><div class="over">JAM-Flow &middot; data set</div><h1>{escape(data.path.name)}</h1>
<p class="lead">{have}. Text: {escape(what["tokenizer"])}. Format {what["format"]}.</p></header><div class="tiles">{cells}</div>"""


def _splits(data: DataSet) -> str:
    rows = []
    for split in SPLITS:
        total = data.meta["splits"][split]
        counts = [int(data.index.select(split, (name,)).size) for name in FLAGS]
        cells = "".join(f'<td class="value">{count:,}</td>' for count in counts)
        rows.append(f'<tr><td>{split}</td><td class="value">{total["clips"]:,}</td>'
                    f'<td class="value">{total["seconds"] / 60:,.1f} min</td>{cells}</tr>')  # fmt: skip
    head = "".join(f"<th>with {name}</th>" for name in FLAGS)
    return _table("Splits", f"<th>split</th><th>clips</th><th>length</th>{head}", rows)


def _lengths(data: DataSet) -> str:
    seconds = _seconds(data)
    counts, edges = np.histogram(seconds, bins=min(60, max(8, len(seconds) // 4)), range=(0, float(seconds.max())))
    x, y = np.repeat(edges, 2)[1:-1], np.repeat(counts, 2)
    chart = line_chart([Series("", x, y, "s-audio")], "seconds", "clips", 1000, 220, y_range=(0, max(1, counts.max()) * 1.05))
    return f"<section><h2>Lengths</h2><figure>{chart}</figure></section>"


def _speakers(data: DataSet) -> str:
    if not data.index.speakers:
        return ""
    speaker = np.asarray(data.index.speaker[:COUNTED])
    total = np.bincount(speaker + 1, weights=_seconds(data), minlength=len(data.index.speakers) + 1)
    order = np.argsort(-total[1:])[:MOST]
    most = float(total[1:].max()) or 1.0
    rows = [f'<tr><td>{escape(data.index.speakers[i])}</td><td style="width:55%"><div class="bar" style="width:'
            f'{100 * total[i + 1] / most:.1f}%"></div></td><td class="value">{total[i + 1] / 60:,.1f} min</td></tr>' for i in order]
    more = len(data.index.speakers) - len(order)
    note = f"{more:,} more speakers." if more > 0 else ""
    return _table("Speakers", "<th>speaker</th><th></th><th>length</th>", rows, note)


def _left_out(data: DataSet) -> str:
    report = _report(data)
    if not report:
        return ""
    parts = []
    for title, entries, key, word in (
        ("Rejected", report.get("rejections", []), "reason", "message"),
        ("Changed on the way in", report.get("notes", []), "note", "note"),
    ):  # fmt: skip
        groups: dict[str, list[dict]] = {}
        for entry in entries:
            groups.setdefault(entry[key].partition(":")[0] if key == "note" else entry[key], []).append(entry)
        rows = []
        for name, group in sorted(groups.items(), key=lambda item: -len(item[1])):
            first = f"{group[0]['id']}: {group[0][word].partition(':')[2].strip()}" if key == "note" else group[0][word]
            count = f'<td class="value">{len(group):,}</td>'
            rows.append(f"<tr><td>{escape(name)}</td>{count}<td><small>{escape(first)}</small></td></tr>")
        parts.append(_table(title, "<th></th><th>inputs</th><th>the first</th>", rows) if rows else "")
    offset = report.get("totals", {}).get("offset")
    if offset:
        words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in offset.items())
        parts.append(f'<section><h2>Sound against mouth</h2><p class="about">{escape(words)}.</p></section>')
    return "\n".join(parts)


def _motion(data: DataSet) -> str:
    if not data.statistics.count:
        return ""
    order = [*data.space.mouth, *(i for i in range(len(data.space.dims)) if i not in set(data.space.mouth))][:MOST]
    known = data.statistics
    rows = [f'<tr><td>{escape(data.space.dims[i])}</td><td class="value">{known.mean[i]:.4g}</td><td class="value">'
            f'{known.std[i]:.4g}</td><td>{"" if known.live[i] else "dead: never moves"}</td></tr>' for i in order]
    live = int(np.sum(data.statistics.live))
    note = f"{live} of {len(data.space.dims)} dimensions move; {data.statistics.count:,} training frames."
    return _table("Motion", "<th>dimension</th><th>mean</th><th>deviation</th><th></th>", rows, note)


def _clips(data: DataSet) -> str:
    """A few clips of every mix of modalities, spread over the set."""
    chosen: list[int] = []
    flags = np.asarray(data.index.flags[:COUNTED]) & 3
    kinds = np.unique(flags)
    for kind in kinds:
        ids = np.flatnonzero(flags == kind)
        chosen += ids[np.linspace(0, len(ids) - 1, min(len(ids), -(-SHOWN // len(kinds)))).astype(int)].tolist()
    figures = []
    for i in sorted(set(chosen)):
        try:
            record = data.record(i)
        except InputError as error:
            figures.append(f'<figure><p class="note">{escape(str(error))}</p></figure>')
            continue
        words = f" <q>{escape(record.text)}</q>" if record.text else ""
        inside = [f'<div class="what">{escape(record.id)}, {record.length * 256 / 24_000:.1f} s{words}</div>']
        if record.mel is not None:
            mel = record.mel.astype(np.float32)
            picture = png_address(mel_image(mel, float(np.percentile(mel, 2))))
            inside.append(f'<img style="width:100%;height:110px;border-radius:3px" alt="mel spectrogram" src="{picture}">')
        if record.motion is not None:
            label, curve_M = opening(data.space, record.motion)
            time = (np.arange(len(curve_M)) + 0.5) / 25
            inside.append(line_chart([Series("", time, curve_M, "s-motion")], "", label, 500, 130, y_ticks=3))
        figures.append(f"<figure>{''.join(inside)}</figure>")
    return f'<section><h2>Clips</h2><div class="two">{"".join(figures)}</div></section>'


def _table(title: str, head: str, rows: list[str], note: str = "") -> str:
    more = f'<p class="note" style="margin-top:10px">{escape(note)}</p>' if note else ""
    return (f'<section><h2>{title}</h2><div class="scroll"><table class="steps"><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div>{more}</section>")  # fmt: skip
