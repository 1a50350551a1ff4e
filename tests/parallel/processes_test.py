"""How processes find each other, and what is said when one of them is missing, dead or silent."""
import os
import re
import socket
import sys
import threading
import time

import jax
import pytest

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.parallel import processes
from jamflow_jax.parallel.processes import Peers

SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[003-004]", "SLURM_NTASKS": "2", "SLURM_PROCID": "1",
         "SLURM_LOCALID": "0"}  # fmt: skip
EXPLICIT = {"JAX_COORDINATOR_ADDRESS": "host:9", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}


def place(monkeypatch, **environment):
    for name in (*SLURM, *EXPLICIT):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return processes._place(1)


def test_a_process_alone_opens_nothing(monkeypatch):
    monkeypatch.setattr(processes, "Peers", lambda *_: pytest.fail("a roll-call"))
    assert place(monkeypatch) is None
    processes.start_processes()
    processes.finish(), processes.leave(1, "x"), processes.await_news()  # nothing to do
    assert not processes.several() and processes.agree("x") == ["x"] and processes.number() == 0


@pytest.mark.parametrize("backend, cached", [("cpu", False), ("tpu", True)])
def test_several_processes_of_cpus_read_no_compiled_programs(monkeypatch, backend, cached):
    """Collectives of a program from the cache may run in another order than those of one just compiled, and hang."""
    monkeypatch.setattr(processes, "_place", lambda _: ("host:9", 2, 0, None))
    monkeypatch.setattr(processes, "Peers", lambda *_: None)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: None)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", True)
    try:
        processes.start_processes()
        assert jax.config.jax_enable_compilation_cache == cached
    finally:
        jax.config.update("jax_enable_compilation_cache", before)


# What each kind of cluster tells its processes, as jax reads it (jax/_src/clusters); METADATA is what a TPU VM's server says.
OPEN_MPI = {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911", "OMPI_COMM_WORLD_SIZE": "4",
            "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}  # fmt: skip
GKE = {"TPU_SKIP_MDS_QUERY": "true", "TPU_WORKER_HOSTNAMES": "run-0.run,run-1.run", "TPU_WORKER_ID": "1"}
SLICES = {**GKE, "MEGASCALE_COORDINATOR_ADDRESS": "run-train-0-0.run:8080", "MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": "1"}
METADATA = {"agent-worker-number": "1", "worker-network-endpoints": "a:b:10.0.0.2,a:c:10.0.0.3", "tpu-env": "TYPE: 'v5p-16'"}
CLUSTERS = {  # the variables; whether it is a TPU VM; what a process finds
    "Open MPI": (OPEN_MPI, False, ("10.96.0.1:62624", 4, 2, [1])),
    "TPU VM": ({}, True, ("10.0.0.2:8482", 2, 1, None)),
    "GKE": (GKE, True, ("run-0.run:8482", 2, 1, None)),
    "GKE, slices": (SLICES, True, ("run-train-0-0.run:8482", 4, 3, None)),
    "SLURM": (SLURM, False, ("node003:61447", 2, 1, [0])),
}


@pytest.fixture(params=CLUSTERS)
def cluster(request, monkeypatch):
    """The environment of a process in such a cluster, and what it should find."""
    from jax._src.clusters import cloud_tpu_cluster, cluster

    variables, tpu, found = CLUSTERS[request.param]
    for name in {**OPEN_MPI, **SLICES, **SLURM}:
        monkeypatch.delenv(name, raising=False)
    for module in (cluster, cloud_tpu_cluster):
        monkeypatch.setattr(module, "running_in_cloud_tpu_vm", tpu)
    monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", lambda key: (METADATA[key], 200))
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "10.0.0.1")
    return variables, found


def test_a_cluster_is_found_and_settings_come_before_it(cluster, monkeypatch):
    variables, found = cluster
    assert place(monkeypatch, **variables) == found
    assert place(monkeypatch, **variables, JAX_COORDINATOR_ADDRESS="host:9") == ("host:9", *found[1:])
    assert place(monkeypatch, **variables, **EXPLICIT) == ("host:9", 4, 3, None)
    assert place(monkeypatch, **variables, JAX_NUM_PROCESSES="1") is None  # alone inside a job


def test_a_slurm_step_of_one_is_alone(monkeypatch):
    assert place(monkeypatch, **{**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}) is None


def test_a_tpu_of_one_host_is_alone(monkeypatch):
    from jax._src.clusters import cloud_tpu_cluster, cluster

    for module in (cluster, cloud_tpu_cluster):
        monkeypatch.setattr(module, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", lambda key: ("", 200))
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "10.0.0.1")
    assert place(monkeypatch, TPU_SKIP_MDS_QUERY="1", TPU_WORKER_HOSTNAMES="localhost", TPU_WORKER_ID="0") is None


@pytest.mark.parametrize("change, words", [
    ({"JAX_COORDINATOR_ADDRESS": ""}, "need JAX_COORDINATOR_ADDRESS=HOST:PORT"),
    ({"JAX_NUM_PROCESSES": ""}, "set JAX_NUM_PROCESSES and JAX_PROCESS_ID as well"),
    ({"JAX_PROCESS_ID": "4"}, "a number from 0 on"),
    ({"JAX_PROCESS_ID": "x"}, "expected whole numbers"),
    *(({"JAX_COORDINATOR_ADDRESS": address}, "expected HOST:PORT, the port a number from 1 to 65535")
      for address in ("host", "host:99999", "host:0", "host:\u00b2", ":8476")),
])  # fmt: skip
def test_settings_that_contradict_each_other(monkeypatch, change, words):
    with pytest.raises(ConfigError, match=words):
        place(monkeypatch, **{name: value for name, value in {**EXPLICIT, **change}.items() if value})


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def exits(monkeypatch, module) -> list[int]:
    """Exit codes, in place of ends by the module's `_exit`."""
    codes = []

    def end(code):
        codes.append(code)
        raise SystemExit

    monkeypatch.setattr(module, "_exit", end)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    return codes


@pytest.fixture
def ended(monkeypatch):
    return exits(monkeypatch, processes)


def come(port: int, number: int) -> socket.socket:
    """A process that has called itself `number`."""
    while True:
        try:
            link = socket.create_connection(("localhost", port), timeout=5)
        except ConnectionRefusedError:
            time.sleep(0.01)
            continue
        link.sendall(f"here {number} host{number}\n".encode())
        return link


def test_who_has_not_come_is_named_to_all(port):
    said = []
    follower = threading.Thread(target=lambda: said.append(processes._line(come(port, 2))))
    follower.start()
    with pytest.raises(InputError, match=r"processes 1, 3 of 4 have not come within 1 s; 2 are here"):
        Peers(f"localhost:{port}", 4, 0, 1, 5)
    follower.join()
    assert re.match("end 1 processes 1, 3 of 4", said[0])


def test_process_0_has_not_come(port):
    with pytest.raises(InputError, match=rf"process 0 has not answered at localhost:{port} within 0 s .this is process 1 of 2"):
        Peers(f"localhost:{port}", 2, 1, 0.3, 5)


def test_one_number_twice(port):
    links = []
    follower = threading.Thread(target=lambda: links.extend(come(port, 1) for _ in range(2)))
    follower.start()
    with pytest.raises(ConfigError, match="two processes are number 1, the second on host1"):
        Peers(f"localhost:{port}", 3, 0, 5, 5)
    follower.join()


def gathered(port, silent=5.0, stuck=5.0):
    """Process 0 of two, and the other's end."""
    links = []
    follower = threading.Thread(target=lambda: links.append(come(port, 1)))
    follower.start()
    peers = Peers(f"localhost:{port}", 2, 0, 5, silent, stuck)
    follower.join()
    assert processes._line(links[0]) == "go"
    return peers, links[0]


@pytest.mark.parametrize("harm, code, words", [
    (lambda link: link.close(), processes.LOST, "process 1 on host1 is gone; the same command goes on from the last checkpoint"),
    (lambda link: link.sendall(b"end 3 process 1 has ended: the disk is full\n"), 3, "process 1 has ended: the disk is full"),
    (lambda link: None, processes.LOST, "process 1 on host1 has said nothing for 0 s"),
])  # fmt: skip
def test_the_end_of_one_is_the_end_of_all(port, ended, capsys, harm, code, words):
    peers, link = gathered(port, 0.4)
    harm(link)
    peers._thread.join(5)
    said = capsys.readouterr().err
    assert ended == [code] and said.startswith(f"error: {words}") and said.count("\n") == 1


def test_a_process_whose_words_nobody_reads_ends_all_the_same(port, monkeypatch):
    class Unread:
        def write(self, text=""):
            raise BrokenPipeError

        flush = write

    codes = exits(monkeypatch, os)
    peers, link = gathered(port)
    monkeypatch.setattr(sys, "stderr", Unread())
    link.close()
    peers._thread.join(5)
    assert codes == [processes.LOST]


@pytest.mark.parametrize("mine, beats, words", [
    (3, ["beat 1", "beat 2"], "process 1 on host1 has not got on for 0 s, and the others wait; the same command goes on"),
    (0, ["beat 1"], "process 0 at localhost:"),  # its thread that watches is not stuck
])  # fmt: skip
def test_one_that_beats_and_does_not_get_on_is_named_and_ends_all(port, ended, capsys, mine, beats, words):
    peers, link = gathered(port, stuck=0.4)
    for _ in range(mine):
        peers.count_one()
    for beat in beats:
        link.sendall(f"{beat}\n".encode())
    peers._thread.join(5)
    said = capsys.readouterr().err
    assert ended == [processes.LOST] and said.startswith(f"error: {words}") and said.count("\n") == 1
    assert b"end 75 process " in link.recv(10_000)


@pytest.mark.parametrize("beats", [["beat 3"], ["beat 1", "beat 2", "beat 3"], ["beat 1", "bye"]])
def test_nobody_is_late_who_is_level_or_gets_on_or_has_parted(port, ended, capsys, beats):
    """All may stand still together for as long as they like: they compile, or save."""
    peers, link = gathered(port, stuck=0.5)
    for _ in range(3):
        peers.count_one()
    for beat in beats:
        link.sendall(f"{beat}\n".encode())
        time.sleep(0.3)
    time.sleep(0.9)
    assert peers._thread.is_alive()
    peers.farewell()
    peers._thread.join(5)
    assert not ended and capsys.readouterr().err == ""


def test_after_a_farewell_an_end_is_none(port, ended, capsys):
    peers, link = gathered(port, 0.4)
    link.sendall(b"bye\n")
    link.close()
    time.sleep(0.6)
    assert peers._thread.is_alive()
    peers.farewell()
    peers._thread.join(5)
    assert not ended and capsys.readouterr().err == ""


def test_one_that_ends_tells_the_others(port, ended):
    peers, link = gathered(port)
    with pytest.raises(SystemExit):
        peers.leave(2, "config.x: no such\nfield")
    lines = link.recv(1000).decode().splitlines()
    assert ended == [2] and "end 2 process 0 has ended: config.x: no such field" in lines
