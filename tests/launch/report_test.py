"""The page is one well-formed file that loads nothing from elsewhere, and leaves out what is not there."""
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from launch import report
from launch.outputs.wav import write_wav

VOID = {"meta", "img", "br", "link", "path", "circle", "rect"}


class Checker(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.sources = [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("samples", "inputs", "evaluation", "model"):
        (tmp_path / name).mkdir()
    mel = rng.normal(size=(60, 100)).astype(np.float32)
    np.savez(tmp_path / "samples" / "a.npz", mel=mel, mel_given=np.arange(60) < 9, motion_given=np.ones(16, bool))
    (tmp_path / "samples" / "a.mp4").write_bytes(b"not really a video")
    write_wav(tmp_path / "inputs" / "r.wav", 0.1 * rng.normal(size=14_000))
    task = {"name": "a", "number": 5, "title": "Dubbing <b>", "story": "A & B", "words": 'say "it"', "recording": "r.wav"}
    (tmp_path / "tasks.json").write_text(json.dumps([task, {**task, "name": "missing"}]))
    score = {"mean": -0.5, "low": -0.6, "high": 0.4}
    curve = {"id": "c", "text": "t", "speaker": "anna", "r": -0.2, "truth": [0, 1, 0.5, 2], "model": [0, 1, 1, 2]}
    (tmp_path / "evaluation" / "audio-to-motion-test.json").write_text(json.dumps({
        "clips": 3, "rows": {row: {"raw": score, "subtracted": score} for row in report.ROWS}, "curves": [curve],
        "sample": {"guidance": 2.0, "steps": 32}, "seconds": 3.0, "seconds_of_motion": 12.0,
    }))  # fmt: skip
    lines = [{"step": s, "split": "train", "audio": 2 / (s + 1), "motion": 1 / (s + 1)} for s in range(30)]
    lines.append({"step": 29, "split": "validation", "audio": 0.1, "motion": 0.2})
    (tmp_path / "model" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    part = {"seconds": 100.0, "peak_bytes": 2**30}
    train = {**part, "killed_at": 14, "resumed_from": 10, "repeated_lines": 4, "equal_lines": 4}
    (tmp_path / "state.json").write_text(json.dumps({"key": "k", "data": part, "train": train}))
    return tmp_path


def test_the_page_is_whole_and_self_contained(folder):
    size = report.write_report(folder, folder / "report.html")
    text = (folder / "report.html").read_text()
    assert size == len(text.encode()) and "$" not in re.sub(r"base64,[^\"]*", "", text)
    checker = Checker()
    checker.feed(text)
    assert checker.open == [] and checker.sources and all(source.startswith("data:") for source in checker.sources)
    assert "http" not in text and "@import" not in text
    for words in ("Dubbing &lt;b&gt;", "A &amp; B", "killed at 14", "4 of 4 log lines", "\u22120.50", "prefers-color-scheme: dark"):
        assert words in text


def test_missing_parts_are_left_out(folder):
    for name in ("tasks.json", "evaluation/audio-to-motion-test.json", "model/metrics.jsonl"):
        (folder / name).unlink()
    report.write_report(folder, folder / "report.html")
    text = (folder / "report.html").read_text()
    assert "Hear it" not in text and "Does the mouth" not in text and "How it learnt" not in text and "This run" in text


def test_no_quickstart_there(tmp_path, capsys):
    assert report.main(["--run", str(tmp_path)]) == 1
    assert "no quickstart there" in capsys.readouterr().err


def test_no_evaluation_there(folder, capsys):
    assert report.main(["--evaluation", str(folder / "tasks.json")]) == 1
    assert "not the JSON of an evaluation" in capsys.readouterr().err
    assert report.main(["--evaluation", str(folder / "nothing.json")]) == 1
