"""What a train step's temporaries took stays with the process, for the next step."""
import ctypes
import importlib.util
import os

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of mallopt(3)


def keep_freed_memory() -> None:
    """On CPUs XLA allocates a program's temporaries at every call, and glibc gives them back to the system behind it.

    Taking them again, page by page, was up to a fifth of a train step (docs/performance.md). From here on all threads allocate from
    one heap, which never shrinks: the process stays as large as it once was. Call before JAX starts its threads. Does nothing
    where there may be another device than CPUs, and where the C library is not glibc.
    """
    if _accelerated():
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)):
        mallopt(option, value)


def _accelerated() -> bool:
    """Whether JAX was told, or has what it needs, to look for other devices; asking JAX itself would start its threads."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    return platforms != "cpu" if platforms else any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
