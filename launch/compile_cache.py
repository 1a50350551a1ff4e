"""Compiled programs are kept between commands, in JAX_COMPILATION_CACHE_DIR or ~/.cache/jamflow/xla."""
import os
from pathlib import Path


def use_compile_cache() -> None:
    """Call before the first compilation, after the processes of a run have met. What the environment says wins.

    Not with several CPU devices: a program of theirs from the cache may hang, in one process too (see parallel/processes.py).
    """
    import jax

    if jax.default_backend() == "cpu" and jax.device_count() > 1:
        jax.config.update("jax_enable_compilation_cache", False)
    elif "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "jamflow" / "xla"))
