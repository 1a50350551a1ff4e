"""Files appear together and complete, or not at all.

A result's files are first written into a hidden folder beside their destination (the same file system), then renamed one by one;
a failure anywhere, Ctrl-C or SIGTERM removes the folder and leaves what was there before. SIGKILL leaves a folder `.writing-...`.
"""
import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from jamflow_jax import storage
from jamflow_jax.errors import ConfigError, InputError
from launch.exits import Terminated


@contextlib.contextmanager
def staged(folder: str | Path) -> Iterator[Path]:
    """Yields a temporary folder; on leaving without an error its files are moved into `folder`, replacing older ones."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _terminated():
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        try:
            yield temporary
            for path in sorted(temporary.iterdir()):
                os.replace(path, folder / path.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def staged_folder(folder: str | Path) -> Iterator[Path]:
    """Yields a temporary folder; on leaving without an error it becomes `folder`, which must not be there yet, or be empty."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _terminated():
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        inner = temporary / "folder"  # with the permissions of any new folder; the temporary one is private
        inner.mkdir()
        try:
            yield inner
            os.replace(inner, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM raises Terminated in the block; where it has a handler already, or outside the main thread, nothing changes."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(*_):
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def check_other(out: str | Path, *inputs: str | Path | None) -> None:
    """Raises ConfigError if `out` is one of the files that are read; those that are not there or None are skipped."""
    if os.path.exists(out) and any(path is not None and os.path.exists(path) and os.path.samefile(out, path) for path in inputs):
        raise ConfigError(f"--out {out}: is read as well; name another file")


def check_file(out: str | Path, option: str = "--out") -> None:
    """Raises ConfigError if `out`, a file to be written, is empty or a folder; OSError if it could not be written."""
    if not os.fspath(out) or os.path.isdir(out):
        raise ConfigError(f"{option} {out or repr('')}: is {'a folder' if out else 'empty'}; name a file")
    try:
        check_writable(Path(out).parent)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; name a file that can be written", f"{option} {out}") from None


def check_new(folder: str | Path) -> None:
    """Raises InputError unless `folder` is not there yet, or empty; OSError if it cannot be made."""
    folder = Path(folder)
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: is there already; name a folder that is not")
    check_writable(folder)


def check_writable(folder: str | Path) -> None:
    """Tries whether files can be written into a folder that may not be there yet, and leaves nothing. Raises OSError naming it;
    ConfigError: it is an address."""
    whole = storage.here(folder).absolute()
    there = next(path for path in (whole, *whole.parents) if os.path.lexists(path))
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".writing-", dir=there))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


def write_text(path: str | Path, text: str) -> None:
    """Writes one text file under a temporary name, then renames it."""
    path = Path(path)
    with staged(path.parent) as temporary:
        (temporary / path.name).write_text(text, encoding="utf-8")
