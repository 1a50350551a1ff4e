"""The profiler's window."""
import time

import jax
import pytest

from jamflow_jax.train.config import ProfileConfig
from jamflow_jax.train.events import Times
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
    profiler = Profiler(config, tmp_path, Times())
    for now in steps:
        profiler.before(now)
        profiler.after(now, ())
    now = "end"
    profiler.close()
    assert seen == expected


def test_waiting_for_the_devices_is_time_of_steps_and_the_trace_a_phase_of_its_own(monkeypatch, tmp_path):
    now = 0

    def takes(seconds):
        def call(*_):
            nonlocal now
            now += seconds

        return call

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(jax, "block_until_ready", takes(5))
    monkeypatch.setattr(jax.profiler, "start_trace", takes(20))
    monkeypatch.setattr(jax.profiler, "stop_trace", takes(100))
    times = Times()
    times.begin("step")
    profiler = Profiler(ProfileConfig(3, 2), tmp_path, times)
    for step in range(1, 9):
        profiler.before(step)
        now += 1
        profiler.after(step, ())
    assert times.take() == {"initialise": 0, "step": 8 + 5, "profile": 120}
