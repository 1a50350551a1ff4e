"""Where a run lives: a directory, or an address in Google's storage, gs://bucket/run.

    at(path)        pathlib's Path; for an address epath's, which has the same methods
    here(path)      pathlib's Path; addresses are refused
    read, write     a small file; written whole or not at all
    drop            removes one
    local(path)     a file that a library opens by its name, as a copy if need be
    Growing(...)    files that are appended to

Nothing can be appended to an object; it appears when all of it has arrived. So `write` needs no second name there, and what grows
does so in a folder of this machine, which `keep` copies: a run calls it before each checkpoint, so that what an address holds is
never behind the checkpoint to go on from. Other stores than Google's keep data sets (`data_pipelines.remote`), not runs: Orbax
writes checkpoints to directories and to gs:// alone.
"""
import contextlib
import importlib.util
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from jamflow_jax.errors import ConfigError, InputError

for _client in ("gcsfs", "google.auth"):  # they log what they raise, with stack traces: here it becomes one line
    logging.getLogger(_client).setLevel(logging.CRITICAL)
_ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]+):/{1,2}([^/].*)$")


def address(path: str | os.PathLike) -> str | None:
    """The address that a path stands for; None for local files. `pathlib` makes one slash of two: gs:/bucket/x is the same."""
    found = _ADDRESS.match(str(path))
    return f"{found[1]}://{found[2].rstrip('/')}" if found else None


def at(path: str | os.PathLike) -> Path:
    """A path to read, write, list and remove with. Raises ConfigError: an address where no run can live, or not on this machine."""
    where = address(path)
    if where is None:
        return Path(path)
    if not where.startswith("gs://"):
        raise ConfigError(f"{where}: runs and models live in directories and at gs://BUCKET/...; mount this store, or copy from it")
    if importlib.util.find_spec("gcsfs") is None:
        raise ConfigError(f"{where}: pip install 'jamflow-jax[gcs]' to work with gs:// (gcsfs is missing)")
    import fsspec
    from etils import epath

    # other processes write there, and tensorstore: what was listed before is not what is there now
    fsspec.config.conf.setdefault("gs", {}).setdefault("use_listings_cache", False)
    return epath.Path(where)


def here(path: str | os.PathLike) -> Path:
    """A path of this machine. Raises ConfigError: it is an address."""
    if address(path):
        raise ConfigError(f"{path}: expected a directory of this machine, not an address")
    return Path(path)


def absolute(path: str | os.PathLike) -> Path:
    """The same from any directory."""
    path = at(path)
    return path.absolute() if isinstance(path, Path) else path


def exists(path: PurePath) -> bool:
    """Whether there is such a file or folder. Raises InputError: the store does not say."""
    with _clear(path, "read"):
        return path.exists()


def names(folder: PurePath) -> list[str]:
    """What is in a folder; nothing if there is none. Raises InputError: the store does not say."""
    if isinstance(folder, Path):
        return [path.name for path in folder.iterdir()] if folder.is_dir() else []
    try:
        with _clear(folder, "listed"):
            return [path.name for path in folder.iterdir()]  # `is_dir` of gcsfs takes a store that refuses for an empty one
    except FileNotFoundError:
        return []


def read(path: str | os.PathLike) -> bytes:
    """The content of a file. Raises OSError as `open` does; InputError: the store does not give it."""
    path = at(path)
    with _clear(path, "read"):
        return path.read_bytes()


def write(path: str | os.PathLike, content: bytes | str) -> None:
    """Writes a small file, whole or not at all. Raises InputError: the store does not take it; OSError."""
    path, content = at(path), content.encode() if isinstance(content, str) else content
    if isinstance(path, Path):
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(content)
        os.replace(partial, path)
        return
    with _clear(path, "written"):
        path.write_bytes(content)


def drop(path: str | os.PathLike) -> None:
    """Removes a file, if it is there. Raises InputError: the store does not; OSError."""
    path = at(path)
    with _clear(path, "removed"):
        path.unlink(missing_ok=True)


def make(folder: str | os.PathLike) -> None:
    """Makes a directory and those above; an address needs none."""
    if isinstance(folder := at(folder), Path):
        folder.mkdir(parents=True, exist_ok=True)


def remove(folder: str | os.PathLike) -> None:
    """Removes a folder and all in it, if it is there."""
    folder = at(folder)
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif exists(folder):
        with _clear(folder, "written"):
            folder.rmtree(missing_ok=True)


def move(folder: PurePath, target: PurePath) -> None:
    """Moves a folder; what is there under the target's name is replaced."""
    remove(target)
    make(target.parent)
    if isinstance(folder, Path):
        shutil.move(folder, target)
        return
    import fsspec

    with _clear(folder, "moved"):
        fsspec.core.url_to_fs(str(folder))[0].mv(str(folder), str(target), recursive=True)


@contextlib.contextmanager
def local(path: str | os.PathLike) -> Iterator[Path]:
    """The file itself, or a copy of it while the block runs."""
    path = at(path)
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="jamflow-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(read(path))
        yield copy


class Growing:
    """A folder for files that grow: the place itself, or for an address one of this machine, until `close`.

    Args:
      place: a directory or an address.
      names: of files that go on from what is there.
    """

    def __init__(self, place: str | os.PathLike, names: Iterable[str] = ()):
        self.place = at(place)
        self.kept: dict[Path, tuple[int, int]] = {}  # size and time of change of what has been copied
        if isinstance(self.place, Path):
            self.folder, self.elsewhere = self.place, False
            return
        self.elsewhere = True
        self.folder = Path(tempfile.mkdtemp(prefix="jamflow-"))
        for name in names:
            if exists(self.place / name):
                (self.folder / name).write_bytes(read(self.place / name))

    def keep(self) -> None:
        """Copies what has changed to the address. Raises InputError: the store does not take it."""
        if not self.elsewhere:
            return
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            about = path.stat()
            if self.kept.get(path) != (state := (about.st_size, about.st_mtime_ns)):
                write(self.place / path.relative_to(self.folder).as_posix(), path.read_bytes())
                self.kept[path] = state

    def close(self) -> None:
        """Copies what has changed, and leaves nothing here."""
        try:
            self.keep()
        finally:
            if self.elsewhere:
                shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def _clear(path: PurePath, done: str) -> Iterator[None]:
    """Whatever a store raises is one line that names the address; errors of local files stay as they are."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(2, "No such file or directory", str(path)) from None
    except Exception as error:
        if isinstance(path, Path) or isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be {done} now ({' '.join(str(error).split())[:200] or type(error).__name__})") from None
