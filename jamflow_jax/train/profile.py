"""A window of steps under JAX's profiler, as `config.profile` asks: DIR/profile, for TensorBoard or Perfetto."""
from pathlib import Path

import jax

from jamflow_jax.storage import Growing
from jamflow_jax.train.config import ProfileConfig
from jamflow_jax.train.events import Times


class Profiler:
    """`before(step)` and `after(step)` around every step; steps count from 1. A window that a restart cuts is not taken again.

    Speed stays that of the steps: waiting for the devices counts as the phase of `times` that it is called in, the trace's own
    work as `profile`.
    """

    def __init__(self, config: ProfileConfig, workdir: str | Path, times: Times):
        self.first, self.last = config.start, config.start + config.steps - 1
        self.workdir, self.times = workdir, times
        self._trace: Growing | None = None

    def before(self, step: int) -> None:
        """Starts the trace before the window's first step."""
        if step == self.first and self.last >= self.first:
            with self.times.phase("profile"):
                self._trace = Growing(self.workdir)
                jax.profiler.start_trace(str(self._trace.folder / "profile"))

    def after(self, step: int, result: object) -> None:
        """Ends it after the last, when the devices have done what was asked of them."""
        if self._trace and step == self.last:
            jax.block_until_ready(result)
            self.close()

    def close(self) -> None:
        """Ends a trace that is under way."""
        trace, self._trace = self._trace, None
        if trace:
            with self.times.phase("profile"):
                jax.profiler.stop_trace()
                trace.close()
