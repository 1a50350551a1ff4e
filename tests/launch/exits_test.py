"""Users' mistakes are one line and a fixed exit code; programming errors stay loud."""
import pytest

from jamflow_jax.errors import ConfigError, InputError
from launch.exits import Parser, one_line_errors


@pytest.mark.parametrize(
    "error, code, words",
    [
        (InputError("clip.wav: not\naudio"), 1, "error: clip.wav: not audio\n"),
        (ConfigError("config.optim.rl: no such field"), 2, "error: config.optim.rl: no such field\n"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), 1, "error: a.wav: No such file or directory\n"),
        (FileExistsError(17, "File exists", "run"), 1, "error: run: File exists\n"),
        (OSError(28, "No space left on device"), 1, "error: the disk: No space left on device\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_errors_become_one_line(error, code, words, capsys):
    @one_line_errors
    def main(argv):
        raise error

    assert main([]) == code
    assert capsys.readouterr().err == words


def test_bugs_keep_their_traceback():
    for bug in (KeyError("a bug"), OSError("of a library")):

        @one_line_errors
        def main(argv):
            raise bug  # noqa: B023

        with pytest.raises(type(bug)):
            main([])


def test_a_clean_end_passes_through():
    assert one_line_errors(lambda argv: 3)([]) == 3


@pytest.mark.parametrize("text", ["-10,20,200,220", "-.5,-1,3,4", "-1e1,0,9,9", "-3"])
def test_negative_numbers_are_arguments(text):
    parser = Parser("verb", "What it does.")
    parser.add_argument_group("where").add_argument("--box")
    assert parser.parse_args(["--box", text]).box == text


def test_a_wrong_option_is_one_line_and_says_where_help_is(capsys):
    parser = Parser("verb", "What it does.")
    parser.add_argument("--count", type=int)
    for argv in (["--cuont", "3"], ["--count", "many"], ["--coun", "3"]):  # no abbreviations: they break when options are added
        with pytest.raises(SystemExit) as end:
            parser.parse_args(argv)
        said = capsys.readouterr().err
        assert end.value.code == 2 and said.startswith("error: ") and said.endswith("(see jamflow verb --help)\n")
        assert said.count("\n") == 1
