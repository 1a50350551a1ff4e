"""Writes the quickstart's page again from what it left: one HTML file with everything in it.

    jamflow report --run runs/quickstart [--out report.html]
    jamflow report --evaluation RUN/evaluation/audio-to-motion-test.json      the page of an evaluation, from its JSON

Sound, video, pictures and charts are embedded; nothing is loaded from elsewhere. Parts that are not there are left out.
"""
import base64
import io
import json
import platform
import string
import sys
from html import escape
from pathlib import Path

import numpy as np

from launch.exits import CLEAN, Parser, one_line_errors
from launch.outputs.charts import Series, interval, line_chart, smooth
from launch.outputs.staging import write_text
from launch.outputs.video import mel_image

HERE = Path(__file__).parent
ROWS = {
    "model": "what it generates for the clip's sound",
    "mean curve": "the training set's average mouth; hears nothing",
    "shuffled audio": "what it generates for another clip's sound",
    "ridge": "linear regression from the log-mel, 0.2 s each way",
}
LABELS = {"ridge": "ridge regression"}


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser("report", __doc__)
    parser.add_argument("--run", default="runs/quickstart", metavar="DIR", help="what the quickstart made (default %(default)s)")
    parser.add_argument("--evaluation", metavar="FILE", help="instead: what `jamflow evaluate` wrote, TASK-SPLIT.json")
    parser.add_argument("--out", metavar="FILE", help="default: DIR/report.html, or FILE with .html for .json")
    options = parser.parse_args(argv)
    if options.evaluation is not None:
        from launch.evaluation.page import write_page

        out = Path(options.out or Path(options.evaluation).with_suffix(".html"))
        print(f"{out}, {write_page(options.evaluation, out) / 2**20:.1f} MB")
        return CLEAN
    folder = Path(options.run)
    if not (folder / "model").is_dir():
        from jamflow_jax.errors import InputError

        raise InputError(f"{folder}: no quickstart there (model/ is missing)")
    out = Path(options.out or folder / "report.html")
    print(f"{out}, {write_report(folder, out) / 2**20:.1f} MB")
    return CLEAN


def write_report(folder: Path, out: Path) -> int:
    """Builds the page of a quickstart folder; returns its size in bytes."""
    page = Page(Path(folder))
    sections = (page.header(), page.tasks(), page.measured(), page.mels(), page.training(), page.run())
    frame = string.Template((HERE / "report.html").read_text(encoding="utf-8"))
    text = frame.substitute(
        title="JAM-Flow quickstart", css=(HERE / "report.css").read_text(encoding="utf-8"), body="\n".join(filter(None, sections)),
        footer=f"Made by <code>jamflow report</code>, jamflow-jax {escape(installed_version())}. This one file is all of it.",
    )  # fmt: skip
    write_text(out, text)
    return len(text.encode())


class Page:
    """The sections, each from the files of its part."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.state = _json(folder / "state.json") or {}
        self.tasks_ = _json(folder / "tasks.json") or []
        self.evaluation = _json(folder / "evaluation" / "audio-to-motion-test.json")
        self.data = _data_facts(folder / "data")
        self.model = _model_facts(folder / "model")

    # --- sections

    def header(self) -> str:
        seconds = sum(part.get("seconds", 0) for part in self._parts().values())
        train = self.state.get("train", {}).get("seconds")
        peak = max((part.get("peak_bytes", 0) for part in self._parts().values()), default=0)
        tiles = []
        if self.evaluation:
            score = self.evaluation["rows"]["model"]["raw"]["mean"]
            tiles.append((f"r = {_number(score)}", f"mouth opening against the truth, {self.evaluation['clips']} held-out clips"))
        if self.data:
            about = f"of speech: {self.data['clips']:,} clips, {self.data['voices']} voices"
            tiles.append((f"{self.data['minutes']:.0f} min", about))
        if self.model:
            tiles.append((f"{self.model['parameters'] / 1e6:.1f} M", f"parameters, {self.model['step']:,} steps"))
        if train:
            tiles.append((_time(train), f"training; {_time(seconds)} for everything"))
        if peak:
            tiles.append((f"{peak / 2**30:.1f} GiB", "peak memory, all processes"))
        cells = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in tiles)
        return f"""<header>
<div class="over">JAM-Flow &middot; quickstart</div>
<h1>Speech and facial motion from one small model, trained on this machine</h1>
<p class="lead">A joint flow-matching transformer learnt from synthetic speakers whose words, voices and faces are known exactly.
Everything below was made for sentences it has never heard.</p>
</header>
<div class="tiles">{cells}</div>"""

    def tasks(self) -> str:
        cards = "".join(filter(None, map(self._card, self.tasks_)))
        if not cards:
            return ""
        return f"""<section>
<h2>Hear it, see it</h2>
<p class="about">One set of weights does all of this: a task is only a choice of what is given. The strips under the pictures are
grey where frames were handed in, blue where sound and orange where motion was made. The voice is reconstructed from the mel
spectrogram by Griffin-Lim, which sounds hollow even for a perfect mel; a trained vocoder would not.</p>
<div class="cards">{cards}</div>
</section>"""

    def measured(self) -> str:
        if not self.evaluation:
            return ""
        rows = []
        for name, about in ROWS.items():
            row = self.evaluation["rows"][name]
            look = "s-motion" if name == "model" else "s-truth"
            cells = "".join(
                f'<td class="value"><b>{_number(v["mean"])}</b><span>{_number(v["low"])} to {_number(v["high"])}</span></td>'
                f"<td>{interval(v['mean'], v['low'], v['high'], look)}</td>"
                for v in (row["raw"], row["subtracted"])
            )
            label = "the model" if name == "model" else LABELS.get(name, name)
            rows.append(f'<tr{" class=ours" if name == "model" else ""}><td>{label}<small>{about}</small></td>{cells}</tr>')
        guidance = self.evaluation["sample"]["guidance"]
        scale = guidance["audio"] if isinstance(guidance, dict) else guidance
        charts = "".join(f"<figure>{self._mouth_chart(curve)}</figure>" for curve in self.evaluation["curves"][:6])
        return f"""<section>
<h2>Does the mouth follow the sound?</h2>
<p class="about">Speech to motion on {self.evaluation["clips"]} held-out clips, one sample each, guidance {scale:g} fixed
beforehand, {self.evaluation["sample"]["steps"]} solver steps. The score is the correlation r of the mouth's opening with the
truth.</p>
<div class="scroll"><table>
<thead><tr><th></th><th colspan="2">raw r</th><th colspan="2">r after subtracting the mean curve</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>
<p class="note" style="margin-top:12px">Mean over clips and its 95 % bootstrap interval; the axes run from &minus;0.25 to 1. The
mean curve minus itself has no variance and counts as 0.</p>
<h3 style="margin:34px 0 12px">The curves behind it</h3>
<div class="two">{charts}</div>
<p class="note" style="margin-top:12px">Mouth opening in LivePortrait units over time in seconds: the truth in grey, the model in
orange. These are the first clips of the test split, not the best ones.</p>
</section>"""

    def mels(self) -> str:
        figures = []
        for task in self.tasks_:
            clip = self._arrays(task["name"])
            recorded = self.folder / "inputs" / task.get("recording", "-")
            if clip is None or "mel" not in clip or clip["mel_given"].all() or not recorded.exists():
                continue
            figures.append(self._mel_pair(task, clip["mel"], _mel_of(recorded)))
        if not figures:
            return ""
        return f"""<section>
<h2>What the sound looks like</h2>
<p class="about">Log-mel spectrograms, 0 to 12 kHz from bottom to top. Above what the model made, below a recording of the same
words. With the motion or the surroundings given (tasks 5 to 7) the two share their timing; from text alone the model is free to
pace itself.</p>
<div class="mels">{"".join(figures)}</div>
</section>"""

    def training(self) -> str:
        lines = [json.loads(line) for line in _lines(self.folder / "model" / "metrics.jsonl")]
        train = [line for line in lines if line["split"] == "train"]
        held = [line for line in lines if line["split"] == "validation"]
        if not train:
            return ""
        facts = self.state.get("train", {})
        marks = [(facts["killed_at"], f"killed at {facts['killed_at']}")] if "killed_at" in facts else []
        charts = []
        for stream, what in (("audio", "sound"), ("motion", "motion")):
            some = [line for line in train if stream in line]
            steps, values = [line["step"] for line in some], [line[stream] for line in some]
            checks = [(line["step"], line[stream]) for line in held if stream in line]
            series = [
                Series("", steps, values, f"s-{stream}", faint=True),
                Series("training, smoothed", steps, smooth(values, max(1, len(values) // 12)), f"s-{stream}"),
                Series("held out", [x for x, _ in checks], [y for _, y in checks], "s-truth", dots=True),
            ]
            chart = line_chart(series, "step", f"loss, {what}", 500, 260, y_range=_loss_range(values, checks), marks=marks)
            charts.append(f"<figure>{chart}</figure>")
        caption = "Flow-matching loss per hidden element; held-out clips with fixed noise and averaged parameters."
        if "killed_at" in facts:
            caption += (f" The dashed line: the process was killed (SIGKILL) after step {facts['killed_at']} and the same command "
                        f"started again, from the checkpoint of step {facts['resumed_from']}.")  # fmt: skip
        if facts.get("repeated_lines"):
            caption += (f" The steps in between were computed twice: {facts['equal_lines']} of {facts['repeated_lines']} log lines "
                        "came out equal to the last digit.")  # fmt: skip
        return f"""<section>
<h2>How it learnt</h2>
<div class="two" style="margin-top:18px">{"".join(charts)}</div>
<p class="note" style="margin-top:12px">{escape(caption)}</p>
</section>"""

    def run(self) -> str:
        parts = self._parts()
        longest = max((part.get("seconds", 0) for part in parts.values()), default=0) or 1
        names = {"data": "prepare the data", "train": "train", "sample": "all seven tasks", "evaluate": "measure"}
        rows = "".join(
            f'<tr><td>{what}</td><td style="width:45%">'
            f'<div class="bar" style="width:{100 * parts[name]["seconds"] / longest:.1f}%"></div></td>'
            f'<td class="value">{_time(parts[name]["seconds"])}</td>'
            f'<td class="value">{parts[name].get("peak_bytes", 0) / 2**30:.2f} GiB</td></tr>'
            for name, what in names.items() if parts.get(name, {}).get("seconds")
        )
        machine = f"{platform.machine()}, {_cores()} cores, Python {platform.python_version()}, {_libraries()}"
        facts = {**self._facts(), "Machine": machine}
        listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
        table = f"""<div class="scroll"><table class="steps" style="margin-top:14px"><thead><tr><th>part</th><th></th><th>time</th>
<th>peak memory</th></tr></thead><tbody>{rows}</tbody></table></div>""" if rows else ""
        return f"<section>\n<h2>This run</h2>\n{table}\n<dl>{listed}</dl>\n</section>"

    # --- pieces

    def _parts(self) -> dict[str, dict]:
        return {name: self.state[name] for name in ("data", "train", "sample", "evaluate", "report") if name in self.state}

    def _arrays(self, name: str) -> dict[str, np.ndarray] | None:
        path = self.folder / "samples" / f"{name}.npz"
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def _card(self, task: dict) -> str:
        clip, video = self._arrays(task["name"]), self.folder / "samples" / f"{task['name']}.mp4"
        if clip is None or not video.exists():
            return ""
        streams = []
        for key, kind, label in (("mel_given", "audio", "sound"), ("motion_given", "motion", "motion")):
            if key in clip:
                given = clip[key]
                part = f' style="--part:var(--{kind})"'
                look, word = (f"k-{kind}", "made") if not given.any() else ("k-part", "partly given")
                look, word = ("k-given", "given") if given.all() else (look, word)
                streams.append(f'<span><i class="{look}"{part if look == "k-part" else ""}></i>{label} {word}</span>')
        words = f"<p><q>{escape(task['words'])}</q></p>" if task.get("words") else ""
        recording = self.folder / "inputs" / task.get("recording", "-")
        listen = ""
        if recording.exists() and "mel_given" in clip and not clip["mel_given"].all():
            listen = (f'<div class="listen"><span>a recording of it</span><audio controls preload="none" '
                      f'src="{embed(recording, "audio/wav")}"></audio></div>')  # fmt: skip
        return f"""<article class="card">
<div class="screen"><video controls playsinline preload="metadata" src="{embed(video, "video/mp4")}"></video></div>
<div class="body"><div class="head"><span class="number">{task["number"]}</span><h3>{escape(task["title"])}</h3></div>
<p>{escape(task["story"])}</p>{words}<div class="streams">{"".join(streams)}</div>{listen}</div>
</article>"""

    def _mouth_chart(self, curve: dict) -> str:
        time = (np.arange(len(curve["truth"])) + 0.5) / 25
        series = [Series("truth", time, curve["truth"], "s-truth"), Series("model", time, curve["model"], "s-motion")]
        title = f"{curve.get('speaker') or curve['id']}, r = {_number(curve['r'])}"
        return line_chart(series, y_label=title, width=500, height=170, x_range=(0, len(time) / 25), y_ticks=3)

    def _mel_pair(self, task: dict, made: np.ndarray, recorded: np.ndarray) -> str:
        floor = float(np.percentile(recorded, 2))
        longest = max(len(made), len(recorded)) * 256 / 24_000

        def row(mel: np.ndarray, label: str) -> str:
            width = f"{100 * len(mel) * 256 / 24_000 / longest:.2f}%"
            return (f'<div class="label">{label}</div><div><img style="width:{width}" alt="mel spectrogram, {label}" '
                    f'src="{png_address(mel_image(mel, floor))}"></div>')  # fmt: skip

        words = f" <q>{escape(task['words'])}</q>" if task.get("words") else ""
        labels = [f"{what}, {len(mel) * 256 / 24_000:.1f} s" for what, mel in (("made", made), ("recorded", recorded))]
        return (f'<figure class="mel"><div class="what">{task["number"]}&ensp;{escape(task["title"])}{words}</div>'
                f"{row(made, labels[0])}{row(recorded, labels[1])}</figure>")  # fmt: skip

    def _facts(self) -> dict[str, str]:
        facts = {}
        if self.data:
            splits = ", ".join(f"{name} {minutes:.1f} min" for name, minutes in self.data["splits"].items())
            facts["Data"] = f"espeak-ng, {self.data['voices']} voices ({splits}), rejected: {self.data['rejected']}"
        if self.model:
            facts["Model"] = self.model["about"]
            facts["Training"] = self.model["training"]
        if self.evaluation:
            made, took = self.evaluation["seconds_of_motion"], self.evaluation["seconds"]
            facts["Speed"] = f"{made:.0f} s of motion generated in {took:.0f} s while measuring"
        facts["Commands"] = "make quickstart; the parts alone: jamflow train, jamflow sample, jamflow evaluate, jamflow report"
        return facts


def _data_facts(folder: Path) -> dict | None:
    if not (folder / "dataset.json").exists():
        return None
    from data_pipelines.index import Index

    index, report = Index.load(folder), _json(folder / "report.json") or {}
    splits = {split: index.seconds(split) / 60 for split in ("train", "validation", "test")}
    return {"clips": len(index), "voices": len(index.speakers), "minutes": index.seconds() / 60, "splits": splits,
            "rejected": report.get("rejected", 0)}  # fmt: skip


def _model_facts(folder: Path) -> dict | None:
    if not (folder / "config.json").exists():
        return None
    import jax

    from jamflow_jax.train import workdir
    from jamflow_jax.train.state import init_params

    config, space, _, tokenizer = workdir.read(folder)
    shapes = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    audio, motion = config.model.audio, config.model.motion
    steps = [json.loads(line)["step"] for line in _lines(folder / "metrics.jsonl")]
    return {
        "parameters": sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)), "step": max(steps, default=0),
        "about": f"two streams of {audio.depth} layers, width {audio.width} and {motion.width}, joint attention in layers "
                 f"{', '.join(str(layer + 1) for layer in config.model.joint)}; {space.name} space, {space.mouth_dim} dimensions "
                 f"generated, {tokenizer.vocab_size} {tokenizer.kind} tokens",
        "training": f"{config.steps:,} steps of at most {config.data.batch_frames:,} mel frames, AdamW {config.optim.lr:g}, "
                    f"EMA {config.optim.ema:g}, seed {config.seed}",
    }  # fmt: skip


def _mel_of(path: Path) -> np.ndarray:
    import soundfile

    from jamflow_jax.audio.mel import log_mel_numpy

    return log_mel_numpy(soundfile.read(path, dtype="float32")[0])


def _loss_range(values: list[float], checks: list[tuple[float, float]]) -> tuple[float, float]:
    """From just under the lowest to the highest of all but the first tenth, where losses fall off a cliff."""
    late = values[len(values) // 10:] + [y for _, y in checks]
    return min(late) - 0.06 * (max(late) - min(late)) - 1e-9, max(late) + 0.06 * (max(late) - min(late)) + 1e-9


def embed(path: Path, kind: str) -> str:
    """A file as a data: address."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def png_address(picture: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _json(path: Path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _number(value: float) -> str:
    """Two decimals with a true minus sign."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _libraries() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "numpy"))


def installed_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("jamflow-jax")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
