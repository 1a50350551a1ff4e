"""Files at addresses (gs://bucket/x, s3://..., anything fsspec opens) as local files: the libraries that decode them know no
others.

A manifest may name such files, `--out` may be such a place, and a data set may be opened there. `pathlib` makes one slash of two,
so `gs:/bucket/x` is read as the same address; a relative folder called `gs:` is not thought of.

    fetched(path)          a copy that is gone afterwards, for one clip
    opened(directory)      a data set: its small files are copied at once, a shard when its first record is read; kept
    write(address, bytes)  one small file
    put(folder, address)   a finished data set, dataset.json last: without it there is none

Needs the package of the scheme (gcsfs, s3fs, ...), which says so itself. Copies lie below $JAMFLOW_HOME, else ~/.cache/jamflow.
"""
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jamflow_jax.errors import InputError
from jamflow_jax.storage import address

SMALL = ("dataset.json", "index.npz", "vocab.txt", "statistics.json")


def home() -> Path:
    """Where copies, and the environments of extractors, are kept."""
    return Path(os.environ.get("JAMFLOW_HOME") or Path.home() / ".cache" / "jamflow")


def stamp(path: str | os.PathLike) -> tuple:
    """What changes when the file does: its name, size, and time of change or checksum. Raises OSError."""
    at = address(path)
    if at is None:
        about = os.stat(path)
        return str(Path(path).absolute()), about.st_size, about.st_mtime_ns
    system, name = _system(at)
    with _clear(at):
        about = system.info(name)
    version = next((about[key] for key in ("etag", "ETag", "md5Hash", "mtime", "created") if key in about), "")
    return at, about.get("size"), str(version)


@contextlib.contextmanager
def fetched(path: Path | None) -> Iterator[Path | None]:
    """The file itself, or a copy of what lies at its address while the block runs. Raises OSError."""
    at = None if path is None else address(path)
    if at is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="jamflow-") as folder:
        target = Path(folder) / at.rsplit("/", 1)[1]
        _get(at, target)
        yield target


def opened(directory: str | os.PathLike) -> tuple[Path, str | None]:
    """(local directory, address or None) of a data set. Raises OSError."""
    at = address(directory)
    if at is None:
        return Path(directory), None
    if not _exists(f"{at}/dataset.json"):  # asked first: of a store out of reach gcsfs tries to download for many minutes
        raise FileNotFoundError(2, "No such file or directory", f"{at}/dataset.json")
    with fetched(Path(f"{at}/dataset.json")) as file:
        here = _place("data", f"{at} {hashlib.sha256(file.read_bytes()).hexdigest()}")  # a new one gets a new place
    for name in SMALL:
        if not (here / name).exists():
            _get(f"{at}/{name}", here / name)
    return here, at


def fetch(at: str, here: Path, name: str) -> Path:
    """The file `name` of an opened data set, copied if it is not here yet. Raises OSError."""
    if not (here / name).exists():
        _get(f"{at}/{name}", here / name)
    return here / name


@contextlib.contextmanager
def written(out: str | os.PathLike, overwrite: bool) -> Iterator[Path]:
    """Where to write a data set that belongs at `out`: there; for an address here, and it is copied when the block ends well."""
    at = address(out)
    if at is None:
        yield Path(out)
        return
    if _exists(f"{at}/dataset.json") and not overwrite:
        raise InputError(f"{at}: there is a data set already; choose another --out or give --overwrite")
    here = _place("written", at) / at.rsplit("/", 1)[1]
    yield here
    if (here / "dataset.json").exists():
        put(here, at)


def put(folder: Path, at: str) -> None:
    """Copies a finished data set and removes it here. Raises InputError; the same command goes on."""
    import shutil

    system, name = _system(at)
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name == "dataset.json")
    try:
        if system.exists(f"{name}/dataset.json"):
            system.rm(f"{name}/dataset.json")
        for path in files:
            target = f"{name}/{path.relative_to(folder).as_posix()}"
            system.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            system.put_file(str(path), target)
    except Exception as error:  # of the store: each has its own
        raise InputError(f"{at}: cannot be written: {' '.join(str(error).split())[:200]}; it is whole in {folder}") from None
    shutil.rmtree(folder)


def write(at: str, content: bytes) -> None:
    """One small file. Raises InputError."""
    system, name = _system(at)
    try:
        system.makedirs(name.rsplit("/", 1)[0], exist_ok=True)
        system.pipe_file(name, content)
    except Exception as error:  # of the store: each has its own
        raise InputError(f"{at}: cannot be written: {' '.join(str(error).split())[:200]}") from None


def _place(kind: str, at: str) -> Path:
    folder = home() / kind / hashlib.sha256(at.encode()).hexdigest()[:20]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _system(at: str):
    import fsspec

    try:
        return fsspec.core.url_to_fs(at)
    except (ImportError, ValueError) as error:
        raise InputError(f"{at}: {' '.join(str(error).split())}") from None


def _exists(at: str) -> bool:
    system, name = _system(at)
    with _clear(at):
        return system.exists(name)


def _get(at: str, target: Path) -> None:
    """In one rename."""
    system, name = _system(at)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    with _clear(at):
        try:
            system.get_file(name, str(partial))
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _clear(at: str) -> Iterator[None]:
    """Whatever a store raises becomes an OSError that names the address."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(2, "No such file or directory", at) from None
    except OSError as error:
        if error.filename:
            raise
        raise OSError(error.errno or 5, error.strerror or " ".join(str(error).split())[:200], at) from None
    except Exception as error:
        raise OSError(5, " ".join(str(error).split())[:200], at) from None
