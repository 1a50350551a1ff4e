"""A window of steps under JAX's profiler, as `config.profile` asks: DIR/profile, for TensorBoard or Perfetto."""
from pathlib import Path

import jax

from jamflow_jax.storage import Growing
from jamflow_jax.train.config import ProfileConfig


class Profiler:
    """`before(step)` and `after(step)` around every step; steps count from 1. A window that a restart cuts is not taken again."""

    def __init__(self, config: ProfileConfig, workdir: str | Path):
        self.first, self.last = config.start, config.start + config.steps - 1
        self.workdir = workdir
        self._trace: Growing | None = None

    def before(self, step: int) -> None:
        """Starts the trace before the window's first step."""
        if step == self.first and self.last >= self.first:
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
            jax.profiler.stop_trace()
            trace.close()
