"""A program in another Python environment that turns pictures or sound into arrays: how we talk to it.

It is started once and serves many clips. Both directions carry messages, each a line of JSON and, where it says a shape, as many
bytes of a C-ordered little-endian array:

    worker   {"protocol": 1, "name": "mediapipe", "version": "0.10.21", ...}     once, when it is ready
    we       {"clip": "name"}                                                    what follows has nothing to do with what went
                                                                                 before
    we       {"shape": [288, 360, 3], "dtype": "uint8"} and 311,040 bytes        one picture (or [N] float32: a whole sound)
    worker   {"shape": [1, 478, 3], "dtype": "float32"} and 5,736 bytes          its answer; or {"error": "why not"}

Every picture has its answer, in order. What a worker prints otherwise belongs on its standard error. A crash, a hang or nonsense
on the wire is a `WorkerError`, one line; the next call starts a new worker. Workers are single files without any import from this
project.
"""
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Sequence

import numpy as np

from jamflow_jax.errors import InputError

PROTOCOL = 1
START_SECONDS, ANSWER_SECONDS = 120.0, 60.0  # importing a framework on a cold disk; one picture, or one clip's sound
LONGEST_LINE = 1 << 20


class WorkerError(InputError):
    """The program could not be started, died, hung, refused an input or did not keep to the protocol."""


class Worker:
    """One running program.

    Args:
      command: the program and its arguments.
      start_seconds, answer_seconds: longer than that and it counts as hung, and is killed.

    Attributes:
      hello: what it said about itself.

    Raises:
      WorkerError: it does not start or does not say hello.
    """

    def __init__(self, command: Sequence[str], start_seconds: float = START_SECONDS, answer_seconds: float = ANSWER_SECONDS):
        self.command, self.answer_seconds = list(command), answer_seconds
        self._said = tempfile.TemporaryFile()
        self._buffer = bytearray()
        try:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, bufsize=0,
                env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            )  # fmt: skip
        except OSError as error:
            raise WorkerError(f"cannot start {self.command[0]}: {error.strerror}") from None
        os.set_blocking(self._process.stdin.fileno(), False)
        self.hello, _ = self._receive(time.monotonic() + start_seconds, "it did not get ready")
        if self.hello.get("protocol") != PROTOCOL or not isinstance(self.hello.get("name"), str):
            self._fail(f"it does not speak protocol {PROTOCOL}: {json.dumps(self.hello)[:80]}")

    def clip(self, name: str) -> None:
        """A new clip begins: trackers forget the last one."""
        self._send({"clip": name}, b"", time.monotonic() + self.answer_seconds)

    def ask(self, array: np.ndarray) -> np.ndarray:
        """Its answer to one picture or sound."""
        deadline = time.monotonic() + self.answer_seconds
        array = np.ascontiguousarray(array)
        self._send({"shape": array.shape, "dtype": array.dtype.name}, memoryview(array).cast("B"), deadline)
        answer, values = self._receive(deadline, f"no answer within {self.answer_seconds:g} s")
        if "error" in answer:
            raise WorkerError(f"{self.hello['name']}: {answer['error']}")
        if values is None:
            self._fail("an answer without a shape")
        return values

    def close(self) -> None:
        """Ends the program."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            try:
                pipe.close()
            except OSError:
                pass

    def _send(self, head: dict, payload, deadline: float) -> None:
        pipe = self._process.stdin.fileno()
        for data in (memoryview(json.dumps(head).encode() + b"\n"), memoryview(payload)):
            while data:
                self._wait(self._process.stdin, selectors.EVENT_WRITE, deadline, "it reads nothing")
                try:
                    data = data[os.write(pipe, data):]
                except BlockingIOError:
                    continue
                except OSError:
                    self._fail("it ended")

    def _receive(self, deadline: float, late: str) -> tuple[dict, np.ndarray | None]:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LONGEST_LINE:
                self._fail("it does not keep to the protocol")
            self._more(deadline, late)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            head = json.loads(line)
            shape = tuple(map(int, head["shape"])) if "shape" in head else None
            dtype = np.dtype(head.get("dtype", "float32"))
            size = None if shape is None else int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        except (ValueError, TypeError, KeyError):
            self._fail(f"it does not keep to the protocol: {line[:80]!r}")
        if shape is None:
            return head, None
        while len(self._buffer) < size:
            self._more(deadline, late)
        values = np.frombuffer(bytes(self._buffer[:size]), dtype).reshape(shape)
        del self._buffer[:size]
        return head, values

    def _more(self, deadline: float, late: str) -> None:
        self._wait(self._process.stdout, selectors.EVENT_READ, deadline, late)
        data = os.read(self._process.stdout.fileno(), 1 << 20)
        if not data:
            self._fail("it ended")
        self._buffer += data

    def _wait(self, pipe, event: int, deadline: float, late: str) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                self._fail(late)

    def _fail(self, reason: str) -> None:
        """Kills it and raises, with the last it said."""
        try:
            code = self._process.wait(1.0 if reason == "it ended" else 0.0)
        except subprocess.TimeoutExpired:
            code = None
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 8192))
        lines = [line.strip() for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        if code is not None:
            reason = f"it ended with {f'signal {-code}' if code < 0 else f'exit status {code}'}"
        name = getattr(self, "hello", {}).get("name") or os.path.basename(self.command[-1])
        self.close()
        raise WorkerError(f"{name}: {reason}" + (f"; its last words: {lines[-1][:200]}" if lines else ""))
