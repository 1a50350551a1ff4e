"""One evaluation as one self-contained page: samples to play beside the truth, tables with intervals, lag curves, dimensions."""
import json
import string
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from jamflow_jax.errors import InputError
from launch.outputs.charts import Series, interval, line_chart
from launch.outputs.clip import Clip
from launch.outputs.files import write_clip
from launch.outputs.staging import write_text
from launch.report import HERE, embed, installed_version

LOOKS = {"model": "s-motion", "truth": "s-truth"}
TITLES = {
    "speech": ("Is it the right speech?", "Beside the truth through the same vocoder, which is the best a model can do with it."),
    "motion": ("Is it the right motion?", "Mouth dimensions against the truth, raw and freed from what every clip shares."),
    "sync": ("Is the mouth in step with the sound?", "A linear probe listens; no network's taste is in it."),
    "leakage": ("What do the lips' neighbours give away?", "Mouth opening told from the rest of the face alone."),
}
SHOWN_ROWS = ("truth", "resynthesised truth", "shifted", "noised")  # what plays where there is no model


def write_page(source: str | Path, out: str | Path) -> int:
    """Writes the page of an evaluation's JSON (and the samples it names, beside it); returns its size in bytes.

    Raises:
      InputError: the file is not what `jamflow evaluate` writes now.
    """
    source = Path(source)
    try:
        result = json.loads(source.read_text(encoding="utf-8"))
        result["tables"], result["lag_curves"], result["dimensions"]
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{source}: not the JSON of an evaluation; `jamflow evaluate` writes it as TASK-SPLIT.json") from None
    tables = "".join(_table(name, table) + _extra(name, result) for name, table in result["tables"].items())
    body = "\n".join([_head(result), _shown(result, source.parent), tables, _facts(result)])
    frame = string.Template((HERE / "report.html").read_text(encoding="utf-8"))
    text = frame.substitute(
        title=escape(f"{result['task']}, {result['split']}: evaluation"), css=(HERE / "report.css").read_text(encoding="utf-8"),
        body=body,
        footer=f"Made by <code>jamflow evaluate</code>, jamflow-jax {escape(installed_version())}. This one file is all of it.",
    )  # fmt: skip
    write_text(out, text)
    return len(text.encode())


def write_shown(stem: Path, clips, controls, made: Sequence, task, space, vocoder, count: int) -> list[dict]:
    """Previews of the first clips, truth and model (or rows of the truth), in STEM-samples/; what the page says of them."""
    folder, shown = Path(f"{stem}-samples"), []
    for i, held in enumerate(clips.test[:count]):
        files = {}
        for row in ("truth", "model") if made else SHOWN_ROWS if "audio" in task.makes else ("truth", "shifted", "noised"):
            mel_TF, motion_MD, audio_N = held.mel_TF, held.motion_MD, controls.recorded(held) if held.mel_TF is not None else None
            if row == "model":
                take = made[i]
                if "audio" in task.makes:
                    mel_TF, audio_N = take.mel_TF, vocoder(take.mel_TF, held.number)
                motion_MD = take.motion_MD if "motion" in task.makes else motion_MD
            elif "audio" in task.makes and row != "truth":
                take = controls.sound(row, i)
                mel_TF, audio_N = take.mel_TF, take.audio_N
            elif row != "truth":
                motion_MD = controls.motion(row, i).motion_MD
            if "motion" not in task.given + task.makes:
                motion_MD = None
            real = row == "truth"
            truth = held.motion_MD if not real and motion_MD is not None and "motion" in task.makes else None
            clip = Clip(
                f"{i}-{row.replace(' ', '-')}", f"{row}: {held.text or held.id}", audio_N, mel_TF,
                None if mel_TF is None else np.full(len(mel_TF), real or "audio" not in task.makes), motion_MD,
                None if motion_MD is None else np.full(len(motion_MD), real or "motion" not in task.makes), space, truth,
            )  # fmt: skip
            files[row] = f"{folder.name}/{write_clip(clip, folder, ('video',), mark=row == 'model')[0].name}"
        shown.append({"id": held.id, "text": held.text, "speaker": held.speaker, "files": files})
    return shown


def card(video: Path, title: str, clip: dict) -> str:
    """A video to play, embedded, with its title and the clip's name and words."""
    words = f"<p><q>{escape(clip['text'])}</q></p>" if clip["text"] else ""
    return f"""<article class="card">
<div class="screen"><video controls playsinline preload="metadata" src="{embed(video, "video/mp4")}"></video></div>
<div class="body"><div class="head"><h3>{escape(title)}</h3></div><p>{escape(clip["id"])}</p>{words}</div>
</article>"""


def cell(value: dict | None, look: str, domain: tuple[float, float]) -> str:
    """Two table cells: the number with its interval, and the same drawn."""
    if value is None:
        return "<td></td><td></td>"
    drawn = interval(value["mean"], value["low"], value["high"], look, domain, 120)
    return f'<td class="value">{_number(value)}</td><td>{drawn}</td>'


def _head(result: dict) -> str:
    tiles = [(str(result["clips"]), f"{result['split']} clips, {result['training_clips']} to train the probes on")]
    told = (("speech", "wer"), ("speech", "mel"), ("motion", "r_minus_mean"), ("sync", "matched"), ("sync", "retrieval"))
    for table, key in told:
        found = result["tables"].get(table, {}).get("rows", {}).get("model", {}).get(key)
        if found:
            label, ends = result["tables"][table]["measures"][key]["label"], (_digits(found[end]) for end in ("low", "high"))
            tiles.append((_digits(found["mean"]), f"{label} of the model [{', '.join(ends)}]"))
    cells = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in tiles)
    model = "no model: what the metrics say of the truth"
    if result["model"]:
        model = f"{escape(result['model'])}, step {result['step']:,}"
    return f"""<header>
<div class="over">JAM-Flow &middot; evaluation</div>
<h1>{escape(result["task"])}</h1>
<p class="lead">{model}; data {escape(", ".join(map(str, result["data"])))}, split {escape(result["split"])}. Every figure has its
95&nbsp;% bootstrap interval over clips; the rows under the model's are what the metric must tell apart.</p>
</header>
<div class="tiles">{cells}</div>"""


def _shown(result: dict, folder: Path) -> str:
    cards = []
    for clip in result.get("shown", ()):
        for row, file in clip["files"].items():
            if not (folder / file).is_file():
                continue
            cards.append(card(folder / file, row, clip))
    if not cards:
        return ""
    return f'<section>\n<h2>Hear it, see it</h2>\n<p class="about">The first clips, not the best ones.</p>\n<div class="cards">' \
           f'{"".join(cards)}</div>\n</section>'  # fmt: skip


def _table(name: str, table: dict) -> str:
    measures, title = table["measures"], TITLES[name]
    domains = {}
    for key in measures:
        ends = [value[end] for row in table["rows"].values() if (value := row.get(key)) for end in ("low", "high")]
        low, high = min([0.0, *ends]), max([*ends, 1e-9])
        domains[key] = (low, high + 0.02 * (high - low))
    arrows = {"lower": " &darr;", "higher": " &uarr;", "": ""}
    units = {key: f" ({escape(m['unit'])})" if m["unit"] else "" for key, m in measures.items()}
    head = "".join(
        f'<th colspan="2">{escape(m["label"])}{units[key]}{arrows[m["better"]]}</th>' for key, m in measures.items()
    )
    rows = "".join(
        f'<tr{" class=ours" if row == "model" else ""}><td>{escape(row)}</td>'
        + "".join(cell(values.get(key), LOOKS.get(row, "s-audio"), domains[key]) for key in measures) + "</tr>"
        for row, values in table["rows"].items()
    )
    note = f'<p class="note" style="margin-top:12px">{escape(table["note"])}</p>' if table["note"] else ""
    return f"""<section>
<h2>{title[0]}</h2>
<p class="about">{title[1]} &darr; lower is better, &uarr; higher.</p>
<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>
{note}
</section>"""


def _extra(name: str, result: dict) -> str:
    """Below a table: lag curves, mouth curves, dimensions."""
    if name == "sync" and result["lag_curves"]:
        series = []
        for row, curve in result["lag_curves"].items():
            named, r = row in LOOKS, [value["mean"] for value in curve["r"]]
            series.append(Series(row if named else "", curve["seconds"], r, LOOKS.get(row, "s-audio"), faint=not named))
        chart = line_chart(series, "the mouth is late by (s)", "r of probe and opening", 640, 260, marks=[(0.0, "")])
        return f'<section><h3>Lag curves</h3><figure>{chart}</figure><p class="note">Blue and faint: the other rows.</p></section>'
    if name == "motion":
        return _curves(result) + _dimensions(result)
    return ""


def _curves(result: dict) -> str:
    figures = []
    for curve in result.get("curves", ())[:6]:
        time = (np.arange(len(curve["truth"])) + 0.5) / 25
        series = [Series("truth", time, curve["truth"], "s-truth"), Series("model", time, curve["model"], "s-motion")]
        title = f"{curve.get('speaker') or curve['id']}, r = {_digits(curve['r'])}"
        figures.append(f"<figure>{line_chart(series, y_label=title, width=500, height=170, y_ticks=3)}</figure>")
    return f'<section><h3>Mouth opening over time (s)</h3><div class="two">{"".join(figures)}</div></section>' if figures else ""


def _dimensions(result: dict) -> str:
    rows = {row: dims for row, dims in result["dimensions"].items() if row in ("model", "mean curve", "noised")}
    if not rows:
        return ""
    first = "model" if "model" in rows else next(iter(rows))
    lines = "".join(
        f"<tr><td>{escape(dim)}</td>"
        + "".join(f'<td class="value">{_number(values[key])}</td>' for key in ("error", "r", "r_minus_mean")) + "</tr>"
        for dim, values in rows[first].items()
    )
    return f"""<section><details><summary>Every mouth dimension ({escape(first)})</summary>
<div class="scroll"><table><thead><tr><th>dimension</th><th>error (std)</th><th>r</th><th>r minus mean curve</th></tr></thead>
<tbody>{lines}</tbody></table></div></details></section>"""


def _facts(result: dict) -> str:
    facts = {
        "Command": result.get("command", "").replace("`", ""), "Seed": result["seed"],
        "Data fingerprint": result["fingerprint"][:16],
        "Notes": "; ".join(result["notes"]), "Generated in": f"{result['seconds']:.1f} s" if result["model"] else "",
    }  # fmt: skip
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items() if value != "")
    return f"<section>\n<h2>This evaluation</h2>\n<dl>{listed}</dl>\n</section>"


def _number(value: dict) -> str:
    return f"<b>{_digits(value['mean'])}</b><span>{_digits(value['low'])} to {_digits(value['high'])}</span>"


def _digits(value: float) -> str:
    """Three significant places or two decimals, with a true minus sign."""
    text = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return text.replace("-0.00", "0.00").replace("-", "\u2212")
