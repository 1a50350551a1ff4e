"""How every command ends: 0 clean, 3 finished but some inputs rejected, 1 nothing usable, 2 wrong usage.

A user's mistake is one line on standard error, `error: what is wrong and what would be right`, and no traceback.
"""
import argparse
import errno
import functools
import os
import re
import sys
import traceback
from collections.abc import Callable

CLEAN, NOTHING_USABLE, WRONG_USAGE, SOME_REJECTED = 0, 1, 2, 3
_said = ""  # the last error
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)  # say enough without the name of a file


class Terminated(KeyboardInterrupt):
    """SIGTERM, where there is something to clean up (outputs/staging.py)."""


class Parser(argparse.ArgumentParser):
    """Of the command `jamflow VERB`; a wrong option is one line too."""

    def __init__(self, verb: str, description: str):
        shape = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=f"jamflow {verb}", description=description, formatter_class=shape, allow_abbrev=False)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # lists too: `--box -10,20,200,220` has an argument, not an option

    def error(self, message: str):
        sys.exit(_say(f"{message} (see {self.prog} --help)", WRONG_USAGE))


def one_line_errors(main: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """Wraps a command's `main(argv) -> exit code` so that InputError, a file in the way, Ctrl-C and SIGTERM end it in one line."""

    @functools.wraps(main)
    def wrapped(argv: list[str]) -> int:
        from jamflow_jax.errors import ConfigError, InputError

        try:
            return main(argv)
        except ConfigError as error:
            return _say(error, WRONG_USAGE)
        except InputError as error:
            return _say(error, NOTHING_USABLE)
        except BrokenPipeError:  # the reader (`| head`) has gone; Python must not complain again while it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return NOTHING_USABLE
        except OSError as error:  # a file of the user's that is missing, in the way or not to be written; a full disk
            if error.filename is None and error.errno not in _DISK:
                raise
            return _say(f"{error.filename or 'the disk'}: {error.strerror}", NOTHING_USABLE)
        except KeyboardInterrupt as error:
            return _say("terminated", 143) if isinstance(error, Terminated) else _say("interrupted", 130)

    return wrapped


def end_together(main: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """Around `one_line_errors`, for a command of several processes: if one of them fails, none is left waiting for it."""

    @functools.wraps(main)
    def wrapped(argv: list[str]) -> int:
        from jamflow_jax.parallel import processes

        try:
            code = main(argv)
        except Exception as error:
            processes.await_news()
            if processes.several():
                traceback.print_exc()
            processes.leave(NOTHING_USABLE, repr(error))
            raise
        if code in (CLEAN, SOME_REJECTED):
            processes.finish()
        else:
            processes.leave(code, _said)
        return code

    return wrapped


def _say(message: object, code: int) -> int:
    global _said
    _said = " ".join(str(message).split())
    print(f"error: {_said}", file=sys.stderr)
    return code
