"""Files of one result appear together or not at all."""
import signal
import subprocess
import sys

import pytest

from launch.outputs.staging import staged, write_text


def test_all_files_arrive_and_nothing_is_left_behind(tmp_path):
    with staged(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("a")
        (folder / "b.txt").write_text("b")
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [folder.name]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.txt", "b.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), staged(tmp_path) as folder:
        (folder / "a.txt").write_text("half")
        raise RuntimeError
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_write_text_replaces(tmp_path):
    write_text(tmp_path / "x.md", "1")
    write_text(tmp_path / "x.md", "2")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.md", "2")]


STOPPED = """
import signal, sys
from launch.exits import one_line_errors
from launch.outputs.staging import staged, staged_folder

def main(argv):
    with {kind}(argv[0]) as folder:
        (folder / "half").write_text("half of it")
        signal.raise_signal(signal.SIGTERM)

sys.exit(one_line_errors(main)(sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", ["staged", "staged_folder"])
def test_sigterm_leaves_what_was_there(tmp_path, kind):
    ended = subprocess.run([sys.executable, "-c", STOPPED.format(kind=kind), tmp_path / "a"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (143, "error: terminated\n")
    assert not [path for path in tmp_path.rglob("*") if path.name != "a" or path.is_file()]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_is_left_to_who_listens_and_handed_back(tmp_path):
    def theirs(*_):
        pass

    before = signal.signal(signal.SIGTERM, theirs)
    try:
        with staged(tmp_path):
            assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, before)
    with staged(tmp_path):
        assert signal.getsignal(signal.SIGTERM) not in (theirs, before)
    assert signal.getsignal(signal.SIGTERM) == before
