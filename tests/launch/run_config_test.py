"""Config files and overrides: what is accepted, and the one line for what is not."""
from fractions import Fraction

import pytest

from jamflow_jax.errors import ConfigError
from launch import run_config, train

GRID = "configs/grid.py"


def test_overrides_are_read_by_the_field_type():
    config = run_config.load(GRID, [
        "--config.optim.lr=1e-4", "--config.steps", "500", "--config.data.path=2024", "--config.data.buckets=240,480",
        "--config.data.crop=false", "--config.model.windows.motion_audio=2/25", "--config.model.windows.motion_motion=none",
        "--config.model.joint_layers=1", "--config.optim.betas=(0.9, 0.95)", "--config.init.audio=none",
    ])  # fmt: skip
    assert (config.optim.lr, config.steps, config.data.path, config.data.buckets) == (1e-4, 500, "2024", (240, 480))
    assert config.data.crop is False and config.optim.betas == (0.9, 0.95) and config.model.joint_layers == (1,)
    assert config.model.windows.motion_audio == Fraction(2, 25) and config.model.windows.motion_motion is None
    assert config.init.audio == "none"  # a text field takes any text


@pytest.mark.parametrize("text, value", [("12", 12), ("360,", (360,)), ("(240, 480)", (240, 480))])
def test_a_number_of_buckets_or_a_list_of_them(text, value):
    assert run_config.load(GRID, [f"--config.data.buckets={text}"]).data.buckets == value


@pytest.mark.parametrize("words, said", [
    (["--config.optim.lrr=1"], r"config\.optim\.lrr: no such field, did you mean 'lr'"),
    (["--config.optim.lr=fast"], r"config\.optim\.lr: expected float, got 'fast'"),
    (["--config.steps=1.5"], r"config\.steps: expected int"),
    (["--config.optim=3"], "is a group of fields"),
    (["--config.steps.x=3"], r"config\.steps: expected int"),
    (["--config.steps"], "a value is missing"),
    (["--stps=3"], "--stps=3: unknown option"),
    (["--config.optim.decay=exp"], "not one of"),
])  # fmt: skip
def test_one_line_for_what_is_wrong(words, said):
    with pytest.raises(ConfigError, match=said):
        run_config.load(GRID, words)


def test_files(tmp_path):
    assert run_config.find("grid").samefile(GRID)
    with pytest.raises(ConfigError, match=r"no such file; did you mean configs/base\.py"):
        run_config.find("configs/bse.py")
    broken = tmp_path / "broken.py"
    broken.write_text("def get_config():\n    return 3\n")
    with pytest.raises(ConfigError, match="returned int"):
        run_config.load(str(broken), [])
    broken.write_text("import nothing_of_that_name\n")
    with pytest.raises(ConfigError, match="ModuleNotFoundError"):
        run_config.load(str(broken), [])


@pytest.mark.parametrize("argv, said", [
    (["--config", GRID], "required: --workdir"),
    (["--config", GRID, "--workdir", "x", "--config.stps=3"], "did you mean 'steps'"),
])  # fmt: skip
def test_wrong_usage_is_exit_2_and_one_line(argv, said, capsys):
    try:
        code = train.main(argv)
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2 and said in error and error.count("\n") == 1


def test_missing_data_is_exit_1(tmp_path, capsys):
    argv = ["--config", GRID, "--workdir", str(tmp_path / "run"), f"--config.data.path={tmp_path / 'none'}"]
    assert train.main(argv) == 1
    assert "no data set" in capsys.readouterr().err and not (tmp_path / "run").exists()
