"""How every command ends: 0 clean, 3 finished but some inputs rejected, 1 nothing usable, 2 wrong usage.

A user's mistake is one line on standard error, `error: what is wrong and what would be right`, and no traceback.
"""
import functools
import os
import sys
from collections.abc import Callable

CLEAN, NOTHING_USABLE, WRONG_USAGE, SOME_REJECTED = 0, 1, 2, 3


def one_line_errors(main: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """Wraps a command's `main(argv) -> exit code` so that InputError, a missing file and Ctrl-C end it in one line."""

    @functools.wraps(main)
    def wrapped(argv: list[str]) -> int:
        from jamflow_jax.errors import ConfigError, InputError

        try:
            return main(argv)
        except ConfigError as error:
            return _say(error, WRONG_USAGE)
        except InputError as error:
            return _say(error, NOTHING_USABLE)
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            if error.filename is None:
                raise
            return _say(f"{error.filename}: {error.strerror}", NOTHING_USABLE)
        except BrokenPipeError:  # the reader (`| head`) has gone; Python must not complain again while it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return NOTHING_USABLE
        except KeyboardInterrupt:
            return _say("interrupted", 130)

    return wrapped


def _say(message: object, code: int) -> int:
    print("error: " + " ".join(str(message).split()), file=sys.stderr)
    return code
