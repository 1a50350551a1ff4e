"""The page of a sweep holds everything, in the order of the table."""
import json
import re

from launch.sweeps import results
from launch.sweeps.page import page


def test_page(sweep, done, tmp_path):
    text = page(sweep, done, results.table(sweep, done), tmp_path / "out", "jamflow sweep rates")
    assert text.index("high<small>optim.lr=0.3") < text.index("low 9<small>optim.lr=0.1, evaluate.steps=9")
    assert "<b>0.200</b><span>0.200 to 0.200</span>" in text and "<b>\u2212" not in text
    assert "the gradient was not finite" in text and "jamflow sweep rates" in text and "Which rate?" in text
    assert "src=" not in text and "href=" not in text  # all of it is in the file
    assert text.count('class="chart"') == 3  # losses of the rows that have some


def test_samples_stand_beside_the_truth(sweep, done, tmp_path):
    shown = {"id": "clip0", "text": "bob", "files": {"truth": "s/t.mp4", "model": "s/m.mp4"}}
    for cell in done:
        if cell.evaluation is not None:
            (cell.evaluation / "s").mkdir()
            for name in ("t", "m"):
                (cell.evaluation / "s" / f"{name}.mp4").write_bytes(b"video")
            (cell.evaluation / "x.json").write_text(json.dumps({"task": "dubbing", "shown": [shown]}))
    text = page(sweep, done, results.table(sweep, done), tmp_path / "out", "jamflow sweep rates")
    titles = re.findall(r"<h3>([^<]*)</h3></div><p>clip0</p>", text)
    assert titles == ["truth", "high", "low 9", "low"] and text.count('src="data:video/mp4;base64,') == 4
