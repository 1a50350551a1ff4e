"""Settings that are written in Python: a file with one function, given by its path or by the name of one in the package."""
import difflib
import importlib.util
from pathlib import Path
from typing import Any

from jamflow_jax.errors import ConfigError


def find(file: str, folder: str, said: str) -> Path:
    """A path as it is, else the file of that name in the package's `folder` ("configs", "configs/sweeps").

    Raises:
      ConfigError: neither; the line begins with `said` and names what is near.
    """
    if Path(file).is_file():
        return Path(file)
    import configs

    folders = [Path(root, *Path(folder).parts[1:]) for root in configs.__path__]
    if Path(file).parent in (Path("."), Path(folder)):
        for place in folders:
            if (path := place / f"{Path(file).stem}.py").is_file():
                return path
    known = sorted(path.stem for place in folders for path in place.glob("*.py") if not path.stem.startswith("_"))
    near = difflib.get_close_matches(Path(file).stem, known, n=1)
    hint = f"did you mean {folder}/{near[0]}.py?" if near else f"the package has {', '.join(known)}"
    raise ConfigError(f"{said}: no such file; {hint}")


def call(path: Path, module: str, function: str, said: str) -> Any:
    """What `function()` of the file returns, the file being imported as `module`.

    Raises:
      ConfigError: it is not Python or it fails; the line begins with `said`.
    """
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None:
        raise ConfigError(f"{said}: not a Python file")
    loaded = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(loaded)
        return getattr(loaded, function)()
    except Exception as error:
        raise ConfigError(f"{said}: {type(error).__name__}: {error}") from error
