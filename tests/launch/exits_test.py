"""Users' mistakes are one line and a fixed exit code; programming errors stay loud."""
import pytest

from jamflow_jax.errors import ConfigError, InputError
from launch.exits import one_line_errors


@pytest.mark.parametrize(
    "error, code, words",
    [
        (InputError("clip.wav: not\naudio"), 1, "error: clip.wav: not audio\n"),
        (ConfigError("config.optim.rl: no such field"), 2, "error: config.optim.rl: no such field\n"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), 1, "error: a.wav: No such file or directory\n"),
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
    @one_line_errors
    def main(argv):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        main([])


def test_a_clean_end_passes_through():
    assert one_line_errors(lambda argv: 3)([]) == 3
