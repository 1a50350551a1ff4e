"""Compiled programs are kept between commands, in JAX_COMPILATION_CACHE_DIR or ~/.cache/jamflow/xla."""
import os
from pathlib import Path


def use_compile_cache() -> None:
    """Call before the first compilation. What the environment says wins."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "jamflow" / "xla"))
