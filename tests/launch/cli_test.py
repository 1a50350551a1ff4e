"""The dispatcher: fast, complete, helpful about typing mistakes."""
import subprocess
import sys
import time
from pathlib import Path

from launch import cli

ROOT = Path(cli.__file__).resolve().parent.parent


def test_every_command_is_listed_with_one_line():
    found = cli.verbs()
    with_main = {p.stem for p in (ROOT / "launch").glob("*.py") if "\ndef main(" in p.read_text()} - {"cli", "exits"}
    assert set(found) == with_main
    assert all(line and "\n" not in line for line in found.values())


def test_help_imports_nothing_heavy_and_takes_under_a_second():
    heavy = "'jax', 'numpy', 'flax', 'matplotlib', 'scipy', 'av', 'grain'"
    code = f"import sys; from launch import cli; cli.main(['--help']); sys.exit(any(m in sys.modules for m in ({heavy})))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "usage: jamflow VERB" in done.stdout
    assert time.perf_counter() - start < 10  # a second on an idle machine; CI machines are not idle


def test_an_unknown_verb_names_the_nearest_and_exits_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "verbs", lambda: {"train": "trains", "sample": "samples"})
    assert cli.main(["trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err
    assert cli.main(["xyzzy"]) == 2
    assert "train, sample" in capsys.readouterr().err


def test_no_verb_is_wrong_usage(capsys):
    assert cli.main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_verbs_come_from_the_docstrings(tmp_path):
    (tmp_path / "zeta.py").write_text('"""Does zeta things\nover two lines.\n\nMore."""\ndef main(argv):\n    return 0\n')
    (tmp_path / "train.py").write_text('"""Trains."""\ndef main(argv):\n    return 0\n')
    (tmp_path / "helper.py").write_text('"""No command."""\n')
    assert cli.verbs(tmp_path) == {"train": "Trains.", "zeta": "Does zeta things over two lines."}
