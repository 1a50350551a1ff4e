"""A polite end: SIGTERM and Ctrl-C ask the loop to save and stop after the step it is in; a second Ctrl-C stops at once."""
import signal
import threading

import jax
from jax.experimental import multihost_utils


class Interrupt:
    """`with Interrupt() as stop: ... if stop.requested(step): ...`. With several processes all stop at the same step."""

    def __enter__(self) -> "Interrupt":
        self._flag = False
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            # With several processes JAX's own preemption service listens to SIGTERM.
            wanted = (signal.SIGINT,) if jax.process_count() > 1 else (signal.SIGINT, signal.SIGTERM)
            self._before = {number: signal.signal(number, self._note) for number in wanted}
        return self

    def requested(self, step: int) -> bool:
        """Whether to stop after `step`."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._flag

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame) -> None:
        self._flag = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
