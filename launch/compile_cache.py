"""Compiled programs are kept between commands, in JAX_COMPILATION_CACHE_DIR or ~/.cache/jamflow/xla."""
import os
from pathlib import Path


def use_compile_cache() -> None:
    """Call before the first compilation, after the processes of a run have met. What the environment says wins."""
    import jax

    if jax.process_count() > 1 and jax.default_backend() == "cpu":
        # JAX writes entries from process 0 alone, under keys that differ between processes on CPUs: after a restart it would have
        # every program at once and wait, one after the other, for the others to compile theirs
        jax.config.update("jax_enable_compilation_cache", False)
    elif "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "jamflow" / "xla"))
