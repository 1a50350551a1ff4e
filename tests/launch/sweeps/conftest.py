"""A stand-in for `jamflow`, and a sweep that needs no model."""
import sys

import pytest

from launch.sweeps import execute, local, plan, results, states

JAMFLOW = """
import json, os, pathlib, sys, time
verb, words = sys.argv[1], sys.argv[2:]
value = lambda flag: words[words.index(flag) + 1]
rate = next((w.split('=')[1] for w in words if w.startswith('--config.optim.lr=')), '0.1')
seed = int(next((w.split('=')[1] for w in words if w.startswith('--config.seed=')), '0'))
here = pathlib.Path(__file__).parent
with open(here / 'calls', 'a') as f: f.write(' '.join(sys.argv[1:]) + '\\n')
if verb == 'train':
    work = pathlib.Path(value('--workdir')); work.mkdir(parents=True, exist_ok=True)
    if rate == '0.5': print('warming up'); sys.exit('error: the gradient was not finite')
    (work / 'rate').write_text(rate); (work / 'seed').write_text(str(seed))
    log = work / 'metrics.jsonl'
    first = not log.exists()
    if first and (here / 'slow').exists():
        log.write_text(json.dumps({'step': 2, 'split': 'train', 'loss': 1.0}) + '\\n')
        import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        (here / 'begun').touch(); time.sleep(60)
    log.write_text(json.dumps({'step': 5, 'split': 'train', 'loss': float(rate), 'audio': 1.0}) + '\\n')
else:
    work = pathlib.Path(value('--model')); out = pathlib.Path(value('--out')); out.mkdir(parents=True, exist_ok=True)
    rate, seed = float((work / 'rate').read_text()), int((work / 'seed').read_text())
    steps = float(value('--steps'))
    (out / 'x.json').write_text(json.dumps({'rows': {'model': {'r': rate + seed + steps / 100}}, 'curves': [1], 'name': 'x'}))
"""
SWEEP = """
def get_sweep():
    return {"question": "Which rate?", "base": "quickstart", "seeds": (0, 1), "fixed": {"steps": 5, "optim.warmup": 1},
            "rows": {"low": {"optim.lr": 0.1}, "high": {"optim.lr": 0.3}, "bad": {"optim.lr": 0.5},
                     "low 9": {"optim.lr": 0.1, "evaluate.steps": 9}},
            "evaluate": {"steps": 4}, "metrics": ({"key": "rows.model.r", "label": "r"}, {"key": "train.loss", "better": "lower"}),
            "smallest": {"rows": ("low", "high"), "seeds": (7,)}}
"""


@pytest.fixture
def jamflow(tmp_path, monkeypatch):
    """The folder of the stand-in; `calls` has a line for every command it got."""
    folder = tmp_path / "stand_in"
    folder.mkdir()
    (folder / "jamflow.py").write_text(JAMFLOW)
    monkeypatch.setattr(execute, "JAMFLOW", (sys.executable, str(folder / "jamflow.py")))
    return folder


@pytest.fixture
def file(tmp_path):
    """The sweep's file."""
    path = tmp_path / "rates.py"
    path.write_text(SWEEP)
    return path


@pytest.fixture
def sweep(file):
    return plan.read(str(file))


@pytest.fixture
def done(sweep, jamflow, tmp_path):
    """All its cells, run with the stand-in."""
    runs = plan.plan(sweep)
    local.run_all(runs, tmp_path / "out", 3)
    return results.collect(sweep, runs, states.settled(tmp_path / "out", runs), tmp_path / "out")
