"""Shared fixtures: golden files, and the real data beside the project when it is there.

The programs of tests are small and many, so that compiling them takes most of the time: XLA is told not to try hard, and what it
made is kept for other tests, other processes and the next run (.pytest_cache; a program's key is its text, flags and versions).
"""
import importlib.util
import os
from pathlib import Path

# subprocesses of tests inherit these
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

import jax
import pytest

jax.config.update("jax_default_matmul_precision", "highest")
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """Small checkpoints with inputs and outputs computed by the original PyTorch code."""
    return REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real speech and facial motion, beside the project; tests that need it are skipped, and say so, without."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"real data is not at {path}")
    return path


@pytest.fixture(scope="session")
def _store():
    if importlib.util.find_spec("gcsfs") is None:
        pytest.skip("gs:// needs gcsfs: pip install 'jamflow-jax[gcs]'")
    from benchmarks import bucket

    with bucket.served() as served:
        yield served  # one for all: the clients remember where they are sent


@pytest.fixture
def store(_store, monkeypatch):
    """A stand-in for Google's storage, to which gs:// leads in this process and those it starts (benchmarks/bucket.py)."""
    for name, value in _store.settings.items():
        monkeypatch.setenv(name, value)
    yield _store
    _store.refuse = set()


@pytest.fixture
def small_faces(monkeypatch):
    """The module support/small_faces.py, with LivePortrait's networks small until the end of the test."""
    monkeypatch.syspath_prepend(REPOSITORY / "tests" / "support")
    import small_faces

    small_faces.shrink(monkeypatch.setattr)
    yield small_faces
    small_faces.liveportrait.template.cache_clear()
