"""The profiler's window."""
import jax
import pytest

from jamflow_jax.train.config import ProfileConfig
from jamflow_jax.train.profile import Profiler


@pytest.mark.parametrize("config, steps, expected", [
    (ProfileConfig(), range(1, 9), []),
    (ProfileConfig(3, 2), range(1, 9), [("start", 3), ("stop", 4)]),
    (ProfileConfig(3, 2), range(4, 9), []),  # resumed behind its start
    (ProfileConfig(8, 5), range(1, 9), [("start", 8), ("stop", "end")]),
])  # fmt: skip
def test_window(monkeypatch, tmp_path, config, steps, expected):
    seen, now = [], None
    monkeypatch.setattr(jax.profiler, "start_trace", lambda place: seen.append(("start", now)))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: seen.append(("stop", now)))
    profiler = Profiler(config, tmp_path)
    for now in steps:
        profiler.before(now)
        profiler.after(now, ())
    now = "end"
    profiler.close()
    assert seen == expected
