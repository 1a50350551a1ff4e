"""The loop: a run that was stopped, killed or damaged gives the same bytes as one that was not."""
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.processes import apart
from jamflow_jax import storage
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.parallel.mesh import make_mesh
from jamflow_jax.parallel.processes import LOST
from jamflow_jax.train import events, flops, loop, metrics
from jamflow_jax.train.checkpoint import steps


class Killed(BaseException):
    """Nothing catches it."""


def kill_at(number):
    def before(step):
        if step == number:
            raise Killed

    return before


@pytest.fixture
def run(source, batch, live):
    """run(config, workdir, before=..., fingerprint=...) -> (outcome, lines said)."""

    def call(config, workdir, before=lambda step: None, fingerprint="f", **options):
        said = []
        data = loop.Data(source(before), lambda: [batch(1000)], live, fingerprint)
        storage.make(workdir)
        mesh = make_mesh(devices=jax.devices()[:1])
        return loop.run(config, data, mesh, workdir, say=said.append, **options), said

    return call


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def whole(run, tiny, whole_folder):
    """The directory of a run of 12 steps that nothing happened to (made once)."""
    if not (whole_folder / "metrics.jsonl").exists():
        run(tiny(), whole_folder)
    return whole_folder


def curve(workdir):
    return storage.read(storage.at(workdir) / "metrics.jsonl").decode()


def test_what_a_run_leaves(whole, source, tiny):
    assert steps(whole / "checkpoints") == [9, 12]
    assert [line["step"] for line in metrics.read(whole)] == [5, 10, 12]
    assert [line["step"] for line in metrics.read(whole, "validation")] == [6, 12]
    assert {"audio", "motion", "loss", "grad_norm", "lr", "frames", "skipped"} <= set(metrics.read(whole)[0])
    assert any((whole / "tb").iterdir())
    speed = json.loads((whole / "speed.jsonl").read_text().splitlines()[-1])
    work = [flops.step_flops(tiny(), batch["length"][batch["weight"] > 0].tolist(), loop.present_streams(batch))
            for batch in source().iterate(10, 12)]  # fmt: skip
    assert speed["tflops_per_s"] / speed["steps_per_s"] == pytest.approx(sum(work) / 2 / 1e12)  # of the line's own two steps
    assert "mfu" not in speed  # nobody says what a CPU could do
    assert {name for line in events.read(whole) for name in line.get("seconds", ())} == {*events.PHASES} - {"profile"}


def test_every_second_of_a_run_is_in_one_phase(run, tiny, tmp_path, monkeypatch):
    """By a clock that moves on by one whenever it is read: from `since` to the last line nothing is left out."""
    ticks = itertools.count(1000)
    monkeypatch.setattr(events, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks), time=lambda: 0.0))
    at_end = []

    def ended():
        assert steps(tmp_path / "checkpoints") == [9, 12]
        at_end.append(next(ticks))

    run(tiny(), tmp_path, ended=ended, times=events.Times(since=0))
    seconds = events.account(events.read(tmp_path))
    assert len(at_end) == 1 and sum(seconds.values()) == next(ticks) - 1  # the tick before is the last that was counted
    assert seconds["initialise"] >= 1000 and seconds["lost"] == 0


def test_a_run_that_is_stopped_has_not_ended(run, tiny, tmp_path):
    outcome, _ = run(tiny(), tmp_path, lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 0 else None,
                     ended=lambda: pytest.fail("it goes on"))  # fmt: skip
    assert outcome.interrupted


SLOW = pytest.mark.slow


@pytest.mark.parametrize("at", [pytest.param(0, marks=SLOW), 2, pytest.param(4, marks=SLOW), 7])
def test_killed_anywhere_the_curve_is_the_same(run, tiny, whole, tmp_path, at):
    """Before the first checkpoint, after it, and with the metrics of two steps pending in it."""
    with pytest.raises(Killed):
        run(tiny(), tmp_path, kill_at(at))
    outcome, said = run(tiny(), tmp_path)
    assert (outcome.step, outcome.interrupted) == (12, False)
    assert curve(tmp_path) == curve(whole)
    lines = events.read(tmp_path)
    assert [line["step"] for line in lines if line["event"] == "start"][0] == 0 and lines[-1]["step"] == 12
    assert events.account(lines)["step"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=SLOW)])
def test_a_signal_saves_and_stops(run, tiny, whole, tmp_path, number):
    outcome, _ = run(tiny(), tmp_path, lambda step: os.kill(os.getpid(), number) if step == 4 else None)
    assert outcome == loop.Outcome(5, True)
    assert steps(tmp_path / "checkpoints")[-1] == 5
    run(tiny(), tmp_path)
    assert curve(tmp_path) == curve(whole)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # handlers are put back


def test_a_finished_run_does_nothing(run, tiny, whole):
    before = curve(whole)
    outcome, _ = run(tiny(), whole, kill_at(0))
    assert outcome == loop.Outcome(12, False) and curve(whole) == before


def test_what_the_mesh_does_not_cut_is_said(run, tiny, whole, monkeypatch):
    assert not any("are not cut" in line for line in run(tiny(), whole)[1])
    monkeypatch.setattr(loop, "not_cut", lambda config, mesh: [f"98% are not cut over {mesh.size} device"])
    assert "98% are not cut over 1 device" in run(tiny(), whole)[1]


def test_a_run_has_begun_once_its_state_is_there(run, tiny, whole, tmp_path):
    begun = []

    def start():
        assert not begun and not any(tmp_path.iterdir())
        return {}

    with pytest.raises(Killed):
        run(tiny(), tmp_path, kill_at(0), start=start, begun=lambda: begun.append(1))
    assert begun == [1]
    run(tiny(), whole, begun=lambda: pytest.fail("the run goes on"))


@SLOW
def test_more_steps_go_on(run, tiny, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    outcome, said = run(tiny(steps=14), tmp_path / "run")
    assert outcome.step == 14 and any("config.steps: 12 before, 14 now" in line for line in said)


def test_another_config_or_other_data_is_refused(run, tiny, whole):
    with pytest.raises(ConfigError, match=r"config\.optim\.lr: .* made with 0\.01, this run has 0\.1"):
        run(tiny(optim={"lr": 0.1}), whole)
    with pytest.raises(InputError, match="the data has changed"):
        run(tiny(), whole, fingerprint="g")


def flip(workdir, step):
    """Damages one byte in the largest file of a checkpoint."""
    files = [path for path in (workdir / "checkpoints" / str(step) / "params").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    largest.write_bytes(data)


def truncate(workdir, step):
    for path in (workdir / "checkpoints" / str(step)).rglob("*"):
        if path.is_file() and path.name != "_CHECKPOINT_METADATA":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(workdir, step):
    shutil.rmtree(workdir / "checkpoints" / str(step))
    (workdir / "checkpoints" / str(step)).mkdir()


@pytest.mark.parametrize("harm", [flip, pytest.param(truncate, marks=SLOW), empty])
def test_a_damaged_checkpoint_is_left_for_the_one_before(run, tiny, whole, tmp_path, harm):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    harm(workdir, 12)
    outcome, said = run(tiny(), workdir)
    assert any("12 is damaged" in line for line in said) and any("step 9" in line for line in said)
    assert outcome.step == 12 and curve(workdir) == curve(whole)
    assert (workdir / "damaged" / "12").exists()


def test_no_whole_checkpoint_is_an_error_not_a_fresh_start(run, tiny, whole, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    flip(workdir, 9), flip(workdir, 12)
    for _ in range(2):
        with pytest.raises(InputError, match="no checkpoint is whole; 2 damaged ones"):
            run(tiny(), workdir)
        assert curve(workdir) == curve(whole)


def test_a_gradient_that_stays_nonfinite_stops_the_run(tiny, batch, live, tmp_path):
    class Bad:
        def iterate(self, start, stop=None):
            for step in range(start, stop):
                data = batch(step)
                data["mel"][:] = np.nan
                yield data

    data = loop.Data(Bad(), lambda: [], live, "f")
    with pytest.raises(InputError, match="not finite 3 times in a row"):
        loop.run(tiny(optim={"skip_nonfinite": 3}), data, make_mesh(devices=jax.devices()[:1]), tmp_path, say=lambda line: None)


SCRIPT = """
import importlib.util, os, signal, sys, threading
spec = importlib.util.spec_from_file_location("fakes", sys.argv[1]); fakes = importlib.util.module_from_spec(spec)
sys.modules["fakes"] = fakes
spec.loader.exec_module(fakes)
import jax, numpy as np
from jamflow_jax.config import build
from jamflow_jax.parallel import processes
from jamflow_jax.parallel.mesh import batch_parts, batch_shards, make_mesh
from jamflow_jax.train import loop
from jamflow_jax.train.config import RunConfig
processes.start_processes(120, 30, float(sys.argv[5]))
one, all, mesh = jax.process_index(), jax.process_count(), make_mesh()
parts, of = list(batch_parts(mesh)), batch_shards(mesh)
mine = lambda batch: {name: np.concatenate([np.split(rows, of)[part] for part in parts]) for name, rows in batch.items()}
harm = {"kill": lambda: os.kill(os.getpid(), signal.SIGKILL), "stick": threading.Event().wait}[sys.argv[4]]
before = lambda step: harm() if step == int(sys.argv[3]) and one == all - 1 else None
class Source(fakes.FakeSource):
    def iterate(self, start, stop=None):
        return map(mine, super().iterate(start, stop))
data = loop.Data(Source(before), lambda: [mine(fakes.make_batch(1000))], fakes.LIVE, "f")
loop.run(build(RunConfig, fakes.TINY), data, mesh, sys.argv[2])
"""


def words(workdir, step, harm="kill", stuck=600):
    """A run in another process, or in several; the last is killed, really, or sticks, when it asks for the batch of a step."""
    return [sys.executable, "-c", SCRIPT, str(Path(__file__).parent / "conftest.py"), str(workdir), str(step), harm, str(stuck)]


def pair(*arguments):
    """Two processes of `words`, joined by gloo as on a cluster; their exit codes, and what they said on standard error."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        joined = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free.getsockname()[1]}", "JAX_NUM_PROCESSES": "2"}
    both = [subprocess.Popen(words(*arguments), env={**os.environ, **joined, "JAX_PROCESS_ID": str(number)},
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for number in range(2)]  # fmt: skip
    try:
        errors = [process.communicate(timeout=500)[1] for process in both]
    finally:
        for process in both:
            process.kill()
    return [process.returncode for process in both], errors


def killed(workdir, step):
    """Runs `words` until the kill."""
    done = subprocess.run(words(workdir, step), capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert "warn" not in (done.stdout + done.stderr).lower()


def test_sigkill(run, tiny, whole, tmp_path):
    """It is finished in this process."""
    killed(tmp_path, 7)
    outcome, said = run(tiny(), tmp_path)
    assert curve(tmp_path) == curve(whole)
    assert all("nan" not in line for line in curve(tmp_path).splitlines()) and json.loads(curve(tmp_path).splitlines()[0])


def test_one_of_two_processes_is_killed_and_one_alone_goes_on(run, tiny, whole, tmp_path):
    """The one that is left names the other; what both saved is read by one, on another mesh."""
    codes, errors = pair(tmp_path, 8)
    assert codes == [LOST, -signal.SIGKILL], errors[0][-2000:]
    assert re.search("^error: process 1 on .* is gone; the same command goes on from the last checkpoint$", errors[0], re.M)
    assert steps(tmp_path / "checkpoints")[-1] in (3, 6)  # the save of step 6 may have been cut short
    outcome, said = run(tiny(), tmp_path)
    assert outcome.step == 12 and any("resuming at step" in line for line in said)
    assert apart(curve(tmp_path), curve(whole)) < 1e-5


@SLOW
def test_one_of_two_processes_waits_for_ever_for_a_batch(tmp_path):
    """Its thread of beats goes on; the other one waits for it in a collective, and would without end."""
    codes, errors = pair(tmp_path, 4, "stick", 60)
    assert codes == [LOST, LOST], errors[0][-2000:]
    for said in errors:
        assert re.search("^error: process 1 on .* has not got on for 60 s, and the others wait; the same command", said, re.M)


def test_at_an_address(run, tiny, whole, store):
    """Killed, resumed, damaged and refused at gs://: each as in a directory."""
    killed("gs://bucket/run", 7)
    held = [json.loads(line)["step"] for line in curve("gs://bucket/run").splitlines()]
    checkpoints = "gs://bucket/run/checkpoints"
    assert steps(checkpoints) in ([3, 6], [3]) and held in ([5, 6], [5], [])  # the save of step 6 may have been cut short
    outcome, said = run(tiny(), storage.at("gs://bucket/run"))  # as the command gives it
    assert any("resuming at step" in line for line in said)
    assert outcome.step == 12 and curve("gs://bucket/run") == curve(whole) and steps(checkpoints) == [9, 12]
    assert any("/tb/" in name for name in store.objects) and events.read("gs://bucket/run")[-1]["step"] == 12

    store.refuse = {"GET"}
    with pytest.raises(InputError, match="now"):
        run(tiny(), "gs://bucket/run")
    store.refuse = set()
    assert steps(checkpoints) == [9, 12]  # nothing was moved

    arrays = [name for name in store.objects if name.startswith("bucket/run/checkpoints/12/params/") and "/d/" in name]
    largest = max(arrays, key=lambda name: len(store.objects[name]))
    data = bytearray(store.objects[largest])
    data[len(data) // 2] ^= 0xFF
    store.objects[largest] = bytes(data)
    outcome, said = run(tiny(), "gs://bucket/run")
    assert any("12 is damaged" in line and "moved to gs://bucket/run/damaged" in line for line in said)
    assert outcome.step == 12 and curve("gs://bucket/run") == curve(whole)
    assert storage.exists(storage.at("gs://bucket/run/damaged/12"))

    del store.objects["bucket/run/checkpoints/12/commit_success.txt"]
    assert steps(checkpoints) == [9]  # one that is not complete is none
