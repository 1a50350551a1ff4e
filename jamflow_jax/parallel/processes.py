"""The processes of one run: how they find each other, and how each learns that another is missing, dead or silent.

Settings of the environment come first (JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID; JAX_NUM_PROCESSES=1 means
alone), then the clusters JAX detects (SLURM, Open MPI, Cloud TPU, GKE, Kubernetes jobs), else the process is alone and nothing is
opened or asked for. Before JAX joins them there is a roll-call on the coordinator's port: JAX itself would abort after its timeout
with a stack trace that names nobody. The connections of the roll-call stay, one from each process to process 0:

    a connection that closes without a farewell    its process is dead: known at once
    no beat for `silent_seconds`                   it is stopped, or its machine or network is gone
    a beat whose count stays behind the others'    it answers but does not get on: a read that never returns. After
                                                   `stuck_seconds`; all do the same things in the same order, so counts compare
    "end CODE LINE"                                one of them cannot go on: it says why to all

Whatever happens first, every process ends with one line that names the process, and no process waits for ever: collectives with a
dead peer would, and so would JAX's own shutdown.
"""
import contextlib
import itertools
import os
import selectors
import socket
import sys
import threading
import time
from typing import NoReturn

import jax
from orbax.checkpoint import multihost

from jamflow_jax.errors import ConfigError, InputError

ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
LOST = 75  # exit code (EX_TEMPFAIL of sysexits.h) where another process is dead or silent: starting all of them again mends it
PATIENCE = 5.0  # seconds: for the news of a death to reach everybody, and for a refused connection to be tried again
A_DAY = 86_400_000  # milliseconds
Place = tuple[str, int, int, list[int] | None]  # coordinator's address, processes, which of them, its devices (None: all)

_peers: "Peers | None" = None
_meetings = itertools.count()


def start_processes(start_seconds: float = 600, silent_seconds: float = 120, stuck_seconds: float = 600) -> None:
    """Joins the other processes of the run, if there are any; call it before anything touches a device.

    On CPUs several processes compile for themselves: JAX's cache of compiled programs is off.

    Args:
      start_seconds: how long to wait for all to come.
      silent_seconds: after which a process that says nothing is given up, and the run with it.
      stuck_seconds: after which one that others wait for is given up in the same way; see `moved`.

    Raises:
      ConfigError: settings of the environment that contradict each other. InputError: a process has not come; it is named.
    """
    global _peers
    place = _place(start_seconds)
    if place is None:
        return
    address, count, number, devices = place
    _peers = Peers(address, count, number, start_seconds, silent_seconds, stuck_seconds)
    # JAX's own watch aborts with a stack trace: it comes after ours
    jax.distributed.initialize(
        address, count, number, devices, initialization_timeout=int(start_seconds) + 60,
        heartbeat_timeout_seconds=int(2 * silent_seconds) + 60,
    )  # fmt: skip
    if jax.default_backend() == "cpu":
        # A CPU program that is read from the cache has forgotten that a loop's collectives and those around it share their
        # connections: the processes may call them in different orders, and then all wait for ever (jax 0.10.2; seen with one
        # core each). Devices of one process may, too: launch/compile_cache.py. Only process 0 would find entries anyway: keys
        # differ between processes, and it alone writes.
        jax.config.update("jax_enable_compilation_cache", False)


def moved() -> None:
    """This process has got on by one thing that all processes do in the same order. Call it where one may be held up alone."""
    if _peers is not None:
        _peers.count_one()


def meet() -> None:
    """Waits until all processes have come here, without a collective; who does not is the watch's to find.

    The first collective of a program on CPUs gives the others 30 s (Gloo, jax 0.10.2); one may compile for longer than another.
    """
    multihost.get_barrier_sync_fn()(key=f"jamflow {next(_meetings)}", timeout_ms=A_DAY)


def agree(word: str) -> list[str]:
    """What each process says, by number: the same list for all, when all have come here; without a collective.

    For what processes may find differently and must not act on differently. Whoever is late is the watch's to find.
    """
    if _peers is None:
        return [word]
    moved()
    client, room = multihost.get_jax_distributed_client(), f"jamflow {next(_meetings)}"
    client.key_value_set(f"{room}/{_peers.number}", word)
    return [client.blocking_key_value_get(f"{room}/{number}", A_DAY) for number in range(_peers.count)]


def number() -> int:
    """Of this process, as the others name it."""
    return 0 if _peers is None else _peers.number


def finish() -> None:
    """Says farewell: from now on the end of another process is none of ours."""
    if _peers is not None:
        _peers.farewell()


def several() -> bool:
    """Whether this process runs with others."""
    return _peers is not None


def leave(code: int, line: str) -> None:
    """Ends this process and all others of the run with `code`; they say `line`. Alone, it only returns."""
    if _peers is not None:
        _peers.leave(code, line)


def await_news() -> None:
    """After an error that the death of another process may explain: if it does, this one ends here and says so."""
    if _peers is not None:
        time.sleep(PATIENCE)


def _place(start_seconds: float) -> Place | None:
    """Where this process stands, or None when it is alone."""
    address, count, number = (os.environ.get(name) for name in (ADDRESS, COUNT, NUMBER))
    if count == "1" or (address is None and (count or number)):
        if count == "1":
            return None
        raise ConfigError(f"{COUNT} and {NUMBER} need {ADDRESS}=HOST:PORT of process 0")
    try:
        found = (address, *(int(text) if text else None for text in (count, number)))
    except ValueError:
        raise ConfigError(f"{COUNT}={count}, {NUMBER}={number}: expected whole numbers") from None
    found = found if all(value is not None for value in found) else _detect(*found, start_seconds)
    address, count, number, *devices = found
    if address is None or count == 1:
        return None
    if count is None or number is None:
        raise ConfigError(f"{ADDRESS} is set, and no cluster that JAX knows: set {COUNT} and {NUMBER} as well")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(f"{ADDRESS}={address}: expected HOST:PORT, the port a number from 1 to {2**16 - 1}")
    if not 0 <= number < count:
        raise ConfigError(f"{COUNT}={count}, {NUMBER}={number}: expected a number from 0 on, below the count")
    return address, count, number, devices[0] if devices else None


def _detect(address, count, number, start_seconds) -> tuple:
    """What is not set, from the cluster. (JAX's detection is not public by itself: `initialize` would join at once.)"""
    from jax._src.clusters import ClusterEnv

    if address is None and "1" in (os.environ.get("SLURM_NTASKS"), os.environ.get("OMPI_COMM_WORLD_SIZE")):
        return None, None, None
    try:
        return ClusterEnv.auto_detect_unset_distributed_params(address, count, number, None, None, int(start_seconds))
    except Exception as error:  # of the cluster's services: each has its own
        raise InputError(
            f"this looks like a cluster, but its processes cannot be found ({' '.join(str(error).split())[:200]}): set {ADDRESS}, "
            f"{COUNT} and {NUMBER}, or {COUNT}=1 to run alone"
        ) from None


class Peers:
    """The roll-call, then the watch. Process 0 holds a connection to each; the others one to process 0."""

    def __init__(
        self, address: str, count: int, number: int, start_seconds: float, silent_seconds: float, stuck_seconds: float = 600,
    ):  # fmt: skip
        self.count, self.number, self.silent, self.stuck = count, number, silent_seconds, stuck_seconds
        self.beat = min(2.0, silent_seconds / 5, stuck_seconds / 5)
        self._ending = threading.Lock()
        self._over = False
        self._names = {0: f"process 0 at {address}"}
        host, _, port = address.rpartition(":")
        deadline = time.monotonic() + start_seconds
        if number == 0:
            self._links = self._gather(int(port), deadline, start_seconds)
        else:
            self._links = {0: self._report(host.strip("[]"), int(port), deadline, start_seconds)}
        self._heard = dict.fromkeys(self._links, time.monotonic())
        self._moves = dict.fromkeys([number, *self._links], 0)  # how much each has done
        self._behind = 0, time.monotonic()  # the least of them, and since when it is that while another has done more
        self._parted: set[int] = set()  # they have said farewell
        self._rest = dict.fromkeys(self._links, b"")
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)
        self._thread.start()

    def count_one(self) -> None:
        """See the module's `moved`."""
        self._moves[self.number] += 1

    def farewell(self) -> None:
        """No more news is expected from here, and none taken."""
        self._over = True
        self._tell("bye")

    def leave(self, code: int, line: str) -> NoReturn:
        """See the module's `leave`."""
        with self._ending:
            self._over = True
            self._tell(f"end {code} process {self.number} has ended: {' '.join(line.split())}")
            time.sleep(self.beat)  # JAX's service ends with process 0, and takes the others along: first the news
            _exit(code)

    # --- roll-call

    def _gather(self, port: int, deadline: float, start_seconds: float) -> dict[int, socket.socket]:
        links: dict[int, socket.socket] = {}
        with _listen(port) as server:
            while len(links) < self.count - 1:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    link, _ = server.accept()
                    link.settimeout(PATIENCE)
                    word, number, host = _line(link).split(" ", 2)
                    assert word == "here"
                except TimeoutError:
                    if time.monotonic() < deadline:
                        continue
                    missing = [i for i in range(1, self.count) if i not in links]
                    line = (f"{_listed(missing)} of {self.count} {'has' if len(missing) == 1 else 'have'} not come within "
                            f"{start_seconds:.0f} s; {len(links) + 1} are here")  # fmt: skip
                    for link in links.values():
                        _send(link, f"end 1 {line}")
                    raise InputError(line) from None
                except (ValueError, AssertionError, OSError):
                    continue  # a stranger, or one that gave up
                if int(number) in links and not _closed(links[int(number)]):  # closed: it has died and come again
                    line = f"two processes are number {number}, the second on {host}: give each a {NUMBER} of its own"
                    for each in (*links.values(), link):
                        _send(each, f"end 2 {line}")
                    raise ConfigError(line)
                links[int(number)] = link
                self._names[int(number)] = f"process {number} on {host}"
        for link in links.values():
            _send(link, "go")
        return links

    def _report(self, host: str, port: int, deadline: float, start_seconds: float) -> socket.socket:
        while True:
            try:
                link = socket.create_connection((host, port), timeout=PATIENCE)
                _send(link, f"here {self.number} {socket.gethostname()}")
                link.settimeout(max(PATIENCE, deadline + 2 * PATIENCE - time.monotonic()))
                answer = _line(link)
                break
            except OSError:  # not up yet, or an old run's
                if time.monotonic() > deadline:
                    raise InputError(
                        f"process 0 has not answered at {host}:{port} within {start_seconds:.0f} s (this is process {self.number} "
                        f"of {self.count})"
                    ) from None
                time.sleep(0.5)
        if answer.startswith("end "):
            _, code, line = answer.split(" ", 2)
            raise (ConfigError if code == "2" else InputError)(line)
        return link

    # --- watch

    def _watch(self) -> None:
        with selectors.DefaultSelector() as ready:
            for number, link in self._links.items():
                link.setblocking(False)
                ready.register(link, selectors.EVENT_READ, number)
            spoken = 0.0
            while not self._over:
                for key, _ in ready.select(self.beat / 2):
                    self._read(key.data, key.fileobj, ready)
                now = time.monotonic()
                if now - spoken > self.beat:
                    spoken = now
                    self._tell(f"beat {self._moves[self.number]}")
                for number, heard in self._heard.items():
                    if now - heard > self.silent and number not in self._parted:
                        self._end(LOST, f"{self._names[number]} has said nothing for {self.silent:.0f} s")
                if self.number == 0:  # it hears all of them
                    self._compare(now)

    def _compare(self, now: float) -> None:
        """Whoever has done least holds up those that have done more: they wait for it in a collective. For too long is the end."""
        moves = {number: done for number, done in self._moves.items() if number not in self._parted}
        least = min(moves.values())
        if least == max(moves.values()) or least != self._behind[0]:
            self._behind = least, now
        elif now - self._behind[1] > self.stuck:
            late = [number for number, done in moves.items() if done == least]
            who = f"{self._names[late[0]]} has" if len(late) == 1 else f"{_listed(late)} of {self.count} have"
            self._end(LOST, f"{who} not got on for {self.stuck:.0f} s, and the others wait")

    def _read(self, number: int, link: socket.socket, ready: selectors.BaseSelector) -> None:
        try:
            data = link.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._heard[number] = time.monotonic()
        *lines, self._rest[number] = (self._rest[number] + data).split(b"\n")
        for line in (line.decode(errors="replace") for line in lines):
            if line == "bye":
                self._parted.add(number)
            elif line.startswith("beat "):
                self._moves[number] = int(line[5:])
            elif line.startswith("end "):
                _, code, text = line.split(" ", 2)
                self._end(int(code), text)
        if not data:
            ready.unregister(link)
            if number not in self._parted:
                self._end(LOST, f"{self._names[number]} is gone")

    def _end(self, code: int, line: str) -> None:
        with self._ending:
            if self._over:
                return
            if self.number == 0:
                self._tell(f"end {code} {line}")
                time.sleep(self.beat / 2)
            with contextlib.suppress(OSError, ValueError):  # nobody may be left to read it
                print(f"error: {line}; the same command goes on from the last checkpoint", file=sys.stderr)
            _exit(code)

    def _tell(self, line: str) -> None:
        for link in self._links.values():
            _send(link, line)


def _exit(code: int) -> NoReturn:
    """At once: collectives under way and JAX's shutdown wait for those that are gone."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _listen(port: int) -> socket.socket:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if socket.has_dualstack_ipv6():
                return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
            return socket.create_server(("", port), backlog=1024)
        except OSError as error:  # an old run's process may need a moment to go
            if time.monotonic() > end:
                raise InputError(f"process 0 cannot listen on port {port} ({error.strerror}): set another {ADDRESS}") from None
            time.sleep(0.5)


def _send(link: socket.socket, line: str) -> None:
    try:
        link.sendall(line.encode() + b"\n")
    except OSError:  # its end is noticed where it is read
        pass


def _closed(link: socket.socket) -> bool:
    link.setblocking(False)
    try:
        return link.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _line(link: socket.socket) -> str:
    """One line, byte by byte, so that nothing after it is taken. Raises OSError when the other side has gone."""
    data = b""
    while not data.endswith(b"\n"):
        byte = link.recv(1)
        if not byte or len(data) > 1_000:
            raise ConnectionError("no line")
        data += byte
    return data[:-1].decode(errors="replace")


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
    return f"process{'es' if len(numbers) > 1 else ''} {shown}"
