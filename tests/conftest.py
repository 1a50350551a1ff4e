"""Shared fixtures: golden files, and the real data beside the project when it is there.

The programs of tests are small and many, so that compiling them takes most of the time: XLA is told not to try hard.
"""
import os
from pathlib import Path

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # subprocesses of tests inherit it
os.environ.setdefault("JAX_PLATFORMS", "cpu")

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
