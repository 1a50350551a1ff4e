"""Files of one result appear together or not at all."""
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
