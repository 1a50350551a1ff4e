"""Injects faults into training runs and checks that each run ends with the losses of an undisturbed one, byte for byte.

    python -m benchmarks.faults [--count 100] [--short] [--processes 1] [--only KIND,...] [--seed 0] [--out runs/faults]
    python -m benchmarks.faults --smallest [--out runs/faults]

A run is what `jamflow train` starts, a process of its own with the command's main function (forked from one that has imported the
libraries already, which is much of a start). Runs of four processes meet as on a cluster, on CPUs. Faults are real: SIGKILL,
SIGSTOP and SIGTERM at the stated moment, a file system of a few MiB that fills up, a read-only mount, bytes flipped and files
removed in the newest checkpoint, a machine name that changes; only gradients that are not finite come from a batch that this
program spoils. After each fault the same command is given again. Mounts and machine names need root and Linux; without, those
faults are skipped and named.

    --count   faults of one process, in all (those of four processes come on top)
    --short   one of each kind of one process
    --smallest  four faults of a run of two processes that one process finishes

OUT/faults.json says what happened (it grows with every fault); `--table OUT ...` prints the table of docs/reliability.md. Exit code
0: every run ended with the undisturbed metrics.jsonl, and every fault that ends a run was said in one line.
"""
import argparse
import ctypes
import dataclasses
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import apart

STEPS = 60
START, SILENT = 90, 20  # seconds of patience with the other processes
LOST = 75  # processes.LOST, not imported: JAX must not be before `main` has set its environment
FIELDS = (
    f"steps={STEPS}", "log_every=1", "optim.warmup=10", "optim.lr=1e-3", "checkpoint.every=3", "evaluation.every=6",
    "evaluation.batches=3",
    "data.buckets=(240,)", "data.batch_frames=960", "data.max_batch=4", "data.crop=true", "model.joint_layers=(0,)",
    *(f"model.{stream}.{size}" for stream in ("audio", "motion") for size in ("width=32", "depth=1", "heads=2", "head_dim=16")),
    "model.audio.text_width=16", "model.audio.text_layers=1",
)  # fmt: skip
FOUR = ("steps=30", "mesh.data=2", "mesh.fsdp=2", f"processes.start_seconds={START}", f"processes.silent_seconds={SILENT}")
TWO = ("steps=18", "evaluation.batches=1", "mesh.data=2", "mesh.fsdp=1", f"processes.start_seconds={START}")
LIMIT = 1_200  # seconds that any process may take: a hang is a failure


@dataclasses.dataclass
class Run:
    """A work directory, how it is trained, and what has happened to it."""

    name: str
    out: Path
    fields: tuple[str, ...] = FIELDS
    processes: int = 1
    devices: int = 1  # of each process
    spoiled: tuple[int, ...] = ()  # steps whose batch is not finite

    def __post_init__(self):
        self.workdir, self.said = self.out / self.name, ""
        self.children: list[int] = []

    def start(self, host: str | None = None) -> None:
        """Begins training, or goes on with it."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        self.codes: dict[int, int] = {}
        self.logs = [self.out / f"{self.name}-{number}.log" for number in range(self.processes)]
        together = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(self.processes)}
        words = ["--config", "configs/quickstart.py", "--workdir", str(self.workdir),
                 *(f"--config.{field}" for field in (*self.fields, f"data.path={self.out / 'data'}"))]  # fmt: skip
        sys.stdout.flush()
        for number, log in enumerate(self.logs):
            log.unlink(missing_ok=True)
            child = os.fork()
            if child == 0:
                place = {**together, "JAX_PROCESS_ID": str(number)} if self.processes > 1 else {}
                place["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={self.devices}"
                _train(words, place, log, host, self.spoiled)
            self.children.append(child)

    def alive(self) -> bool:
        """Whether any process is left."""
        for child in self.children:
            if child not in self.codes:
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    self.codes[child] = os.waitstatus_to_exitcode(status)
        return len(self.codes) < len(self.children)

    def until(self, moment: Callable[[], bool]) -> None:
        """Waits for a moment of the run, or for its end."""
        end = time.monotonic() + LIMIT
        while self.alive() and not moment():
            if time.monotonic() > end:
                self.kill()
                raise SystemExit(f"{self.name} hangs; see {self.logs[0]}")
            time.sleep(0.005)

    def wait(self) -> list[int]:
        """Waits for the end; exit codes."""
        self.until(lambda: False)
        codes = [self.codes[child] for child in self.children]
        self.said, self.children = "\n".join(log.read_text(errors="replace") for log in self.logs if log.exists()), []
        return codes

    def kill(self, number: signal.Signals = signal.SIGKILL, which: int | None = None) -> None:
        """Sends a signal to one process or to all."""
        for i, child in enumerate(self.children):
            if which in (None, i) and child not in self.codes:
                os.kill(child, number)

    def errors(self) -> list[str]:
        """The lines that say what was wrong, of every process."""
        return [line for line in self.said.splitlines() if line.startswith("error: ")]

    def stepped(self, word: str = "/") -> int:
        """The newest step this start has told of: of training, or with "  held out", of an evaluation."""
        found = re.findall(rf"^step (\d+){word}", self.told(), re.M)
        return int(found[-1]) if found else 0

    def saving(self) -> set[tuple]:
        """Checkpoints that are being written, or were when they were cut short."""
        try:
            return {(path.name, path.stat().st_ino) for path in (self.workdir / "checkpoints").iterdir() if "tmp" in path.name}
        except FileNotFoundError:
            return set()

    def checkpoints(self) -> list[int]:
        """Steps of those that are complete."""
        from jamflow_jax.train.checkpoint import steps

        return steps(self.workdir / "checkpoints")

    def newest(self) -> int:
        """The newest of them; 0: none."""
        return (self.checkpoints() or [0])[-1]

    def told(self) -> str:
        """What the first process of this start has said so far."""
        return self.logs[0].read_text(errors="replace") if self.logs[0].exists() else ""


def _train(words: list[str], place: dict[str, str], log: Path, host: str | None, spoiled: tuple[int, ...]) -> None:
    """In the child: `jamflow train`, as its command would run it; does not return."""
    code = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1), os.dup2(output, 2)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to outlive this program
        os.environ.update(place)
        if host:
            ctypes.CDLL(None).unshare(0x04000000)  # CLONE_NEWUTS
            socket.sethostname(host)
        from data_pipelines import loader
        from launch import train

        if spoiled:
            whole = loader.Loader.batch

            def batch(self, step):
                values = whole(self, step)
                if step in spoiled:
                    values["mel"][...] = float("nan")
                return values

            loader.Loader.batch = batch
        code = train.main(words)
        sys.exit(code)  # as the command does: with what is registered for the end
    except SystemExit as end:
        code = end.code or 0
        import atexit

        atexit._run_exitfuncs()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


# --- faults: each starts the run, does harm, and returns what was seen; the caller goes on with the run


def killed_in_step(run: Run, chance: random.Random) -> str:
    """SIGKILL at a random moment of the steps."""
    _into_steps(run, chance)
    time.sleep(chance.uniform(0, 0.05))
    run.kill()
    return _dead(run)


def killed_at_start(run: Run, chance: random.Random) -> str:
    """SIGKILL at a random moment of the start, before the first step."""
    run.start()
    time.sleep(chance.uniform(0.1, 3))
    run.kill()
    return _dead(run)


def killed_in_save(run: Run, chance: random.Random) -> str:
    """SIGKILL while a checkpoint is being written."""
    before = run.saving()
    _into_steps(run, chance)
    run.until(lambda: run.saving() - before)
    time.sleep(chance.uniform(0, 0.02))
    run.kill()
    dead = _dead(run)
    return f"{dead}, an unfinished checkpoint was left" if run.saving() - before else f"{dead}, just finished"


def killed_in_restore(run: Run, chance: random.Random) -> str:
    """SIGKILL while a checkpoint is being read."""
    run.start()
    run.until(lambda: "  total " in run.told())
    time.sleep(chance.uniform(0, 1))
    resumed = "resuming" in run.told()
    run.kill()
    return f"{_dead(run)}, {'after' if resumed else 'before'} it was whole in memory"


def stopped_in_evaluation(run: Run, chance: random.Random) -> str:
    """SIGTERM while held-out losses are computed."""
    run.start()
    run.until(lambda: run.stepped() > 0 and run.stepped() % 6 == 0 and run.stepped("  held out") < run.stepped())
    run.kill(signal.SIGTERM)
    return _ended(run, [0] * run.processes, "stopped and saved")


def stopped_in_step(run: Run, chance: random.Random) -> str:
    """SIGTERM in a step."""
    _into_steps(run, chance)
    run.kill(signal.SIGTERM)
    return _ended(run, [0] * run.processes, "stopped and saved")


def full_disk(run: Run, chance: random.Random) -> str | None:
    """The file system of the work directory is full, at a random size of what is left."""
    with Mounted(run.workdir, "tmpfs", f"size={_used(run.workdir) + chance.randint(10, 120)}k"):
        run.start()
        seen = _ended(run, [1] * run.processes, "No space left")
        return None if "codes [0]" in seen else seen  # what was left to write did fit: no fault


def read_only(run: Run, chance: random.Random) -> str:
    """The work directory is mounted read-only."""
    with Mounted(run.workdir, "", "ro"):
        run.start()
        return _ended(run, [1] * run.processes, "Read-only file system")


def flipped_byte(run: Run, chance: random.Random) -> str:
    """One byte of the newest checkpoint is flipped."""
    return _falls_back(run, _flip(run, chance))


def missing_file(run: Run, chance: random.Random) -> str:
    """One file of the newest checkpoint is gone."""
    newest = run.checkpoints()[-1]
    files = sorted(path for path in (run.workdir / "checkpoints" / str(newest)).rglob("*") if path.is_file())
    chance.choice(files).unlink()
    return _falls_back(run, newest)


def part_flipped(run: Run, chance: random.Random) -> str:
    """One byte of one process's part of the newest checkpoint is flipped."""
    newest, path = _part(run, chance)
    _flip_in(path, chance)
    return _falls_back(run, newest)


def part_missing(run: Run, chance: random.Random) -> str:
    """One file of one process's part of the newest checkpoint is gone."""
    newest, path = _part(run, chance)
    path.unlink()
    return _falls_back(run, newest)


def part_cut(run: Run, chance: random.Random) -> str:
    """One file of one process's part of the newest checkpoint is cut."""
    newest, path = _part(run, chance)
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])
    return _falls_back(run, newest)


def other_host(run: Run, chance: random.Random) -> str:
    """The machine has another name at the next start."""
    host = f"node{chance.randrange(10_000)}"
    _into_steps(run, chance, host)
    run.kill()
    return f"{_dead(run)} as {host}"


def one_killed(run: Run, chance: random.Random) -> str:
    """SIGKILL of one process in four."""
    which = chance.randrange(run.processes)
    _into_steps(run, chance)
    run.kill(signal.SIGKILL, which)
    return _named(run, which, LOST, f"process {which} ", "is gone")


def all_killed(run: Run, chance: random.Random) -> str:
    """SIGKILL of all four processes."""
    _into_steps(run, chance)
    run.kill()
    return _dead(run)


def one_hangs(run: Run, chance: random.Random) -> str:
    """SIGSTOP of one process in four."""
    which = chance.randrange(run.processes)
    _into_steps(run, chance)
    run.kill(signal.SIGSTOP, which)
    start = time.monotonic()
    run.until(lambda: len(run.codes) == run.processes - 1)
    waited = time.monotonic() - start
    run.kill(signal.SIGKILL, which)
    return f"{_named(run, which, LOST, f'process {which} ', f'has said nothing for {SILENT} s')} after {waited:.0f} s"


def one_missing(run: Run, chance: random.Random) -> str:
    """One process in four is killed before it has joined."""
    which = chance.randrange(1, run.processes)
    run.start()
    run.kill(signal.SIGKILL, which)
    return _named(run, which, 1, f"process {which} of 4 has not come within {START} s", "")


ONE = {
    killed_in_step: 12, killed_at_start: 13, killed_in_save: 14, killed_in_restore: 18, stopped_in_evaluation: 6,
    stopped_in_step: 3, full_disk: 6, read_only: 6, flipped_byte: 10, missing_file: 8, other_host: 4,
}  # fmt: skip
SEVERAL = {
    one_killed: 4, all_killed: 2, one_hangs: 2, stopped_in_evaluation: 1, one_missing: 1,
    part_flipped: 1, part_missing: 1, part_cut: 1,
}  # fmt: skip
NEEDS_ROOT = (full_disk, read_only, other_host)
NEEDS_CHECKPOINTS = (
    killed_in_restore, flipped_byte, missing_file, part_flipped, part_missing, part_cut, full_disk, read_only,
)  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--smallest", action="store_true")
    parser.add_argument("--only", default="", help="kinds of faults, by name")
    parser.add_argument("--seed", type=int, default=0, help="of kinds, moments and places")
    parser.add_argument("--out", type=Path, default=Path("runs/faults"))
    parser.add_argument("--processes", type=int, choices=(1, 4), help="only runs of so many")
    parser.add_argument("--table", nargs="+", type=Path, metavar="OUT", help="print the table of earlier calls")
    options = parser.parse_args(argv)
    if options.table:
        print(table([json.loads((out / "faults.json").read_text()) for out in options.table]))
        return 0
    out, wanted = options.out.absolute(), options.only.split(",") if options.only else []
    for old in out.glob("run*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    prepare(out)
    book, chance = Book(out, options.seed), random.Random(options.seed)
    one, several = ({kind: n for kind, n in kinds.items() if not wanted or kind.__name__ in wanted} for kinds in (ONE, SEVERAL))
    if options.smallest:
        two(chance, book)
    elif options.processes != 4 and one:
        campaign("run-one", FIELDS, 1, _drawn(one, options.count, chance, options.short), chance, book)
    if options.processes != 1 and several and not options.short and not options.smallest:
        campaign("run-four", (*FIELDS, *FOUR), 4, _drawn(several, sum(several.values()), chance), chance, book)
    if options.processes != 4 and (not wanted or "nonfinite" in wanted) and not options.smallest:
        nonfinite(book)
    print(book.summary())
    return 0 if book.same and all(event["ok"] for event in book.events) else 1


class Book:
    """What happened, kept in OUT/faults.json."""

    def __init__(self, out: Path, seed: int):
        self.out, self.seed, self.events, self.ends, self.begun = out, seed, [], [], time.perf_counter()

    @property
    def same(self) -> bool:
        """Whether every run that has ended has the bytes of the undisturbed one."""
        return all(end["same"] for end in self.ends)

    def fault(self, kind: str, what: str, run: Run, seen: str, seconds: float, ok: bool = True) -> None:
        """A fault, and what was seen of it."""
        ok = ok and not seen.startswith("WRONG")
        self.events.append({"kind": kind, "what": what, "processes": run.processes, "run": run.name, "seen": seen, "ok": ok,
                            "seconds": round(seconds, 1)})  # fmt: skip
        print(f"{len(self.events):3d} {run.name} {kind}: {seen} ({seconds:.1f} s)", flush=True)
        self._write()

    def end(self, run: Run, same: bool, as_what: str = "the same bytes") -> None:
        """The end of a run."""
        goodput = [line for line in run.said.splitlines() if line.startswith("goodput")]
        self.ends.append({"run": run.name, "same": same, "goodput": goodput[0] if goodput else ""})
        told = as_what if same else f"DIFFERENT: {run.said[-1500:]}"
        print(f"    {run.name}: {told}; {self.ends[-1]['goodput']}", flush=True)
        self._write()

    def summary(self) -> str:
        """All of it in a line."""
        wrong = sum(not event["ok"] for event in self.events)
        return (f"{len(self.events)} faults, {wrong} not as they should be; {len(self.ends)} runs, metrics.jsonl "
                f"{'the same' if self.same else 'DIFFERENT'}; {self._minutes()} min, {self._cpu()} CPU-minutes")  # fmt: skip

    def _write(self) -> None:
        report = {"seed": self.seed, "steps": STEPS, "minutes": self._minutes(), "cpu_minutes": self._cpu(), "same": self.same,
                  "faults": self.events, "runs": self.ends}  # fmt: skip
        (self.out / "faults.json").write_text(json.dumps(report, indent=1) + "\n")

    def _minutes(self) -> float:
        return round((time.perf_counter() - self.begun) / 60, 1)

    def _cpu(self) -> float:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return round((spent.ru_utime + spent.ru_stime) / 60, 1)


def prepare(out: Path) -> None:
    """The data set, and the libraries: children have them from here."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    os.environ.setdefault("XDG_CACHE_HOME", str(out / "cache"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "data" / "dataset.json").exists():
        words = [sys.executable, "-c", "import sys; from data_pipelines.prepare.synthetic import prepare_synthetic as p; "
                 "p(sys.argv[1], minutes=1, seed=0, workers=1)", str(out / "data")]  # fmt: skip
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    sys.modules["torch"] = None  # TensorBoard's writer looks for it, for its own benefit
    from jamflow_jax.train import export, loop, stages  # noqa: F401
    from launch import run_config, train  # noqa: F401


def campaign(name: str, fields: tuple[str, ...], processes: int, left: list, chance: random.Random, book: Book) -> None:
    """One fault after the other, in as many runs as it takes; each run is finished and compared with an undisturbed one."""
    undisturbed = Run(f"{name}-undisturbed", book.out, fields, processes)
    undisturbed.start()
    if any(codes := undisturbed.wait()):
        raise SystemExit(f"{name}: the undisturbed run ended with {codes}: {undisturbed.said[-3000:]}")
    expected, number, steps = (undisturbed.workdir / "metrics.jsonl").read_bytes(), 0, undisturbed.stepped()
    while left:
        run, number = Run(f"{name}-{number}", book.out, fields, processes), number + 1
        while left and run.newest() < steps - 12:
            grown = len(run.checkpoints()) > 1
            if (kind := next((kind for kind in left if grown or kind not in NEEDS_CHECKPOINTS), None)) is None:
                _advance(run)
                continue
            left.remove(kind)
            begun = time.perf_counter()
            seen = kind(run, chance)
            if seen is not None:
                book.fault(kind.__name__, kind.__doc__, run, seen, time.perf_counter() - begun)
        run.start()
        codes = run.wait()
        book.end(run, not any(codes) and (run.workdir / "metrics.jsonl").read_bytes() == expected)


def two(chance: random.Random, book: Book) -> None:
    """Two processes with a batch that is not finite, one of them killed; its newest checkpoint damaged and its disk full, one
    process with two devices goes on, and finishes when there is room: as one undisturbed process does, but for rounding."""
    spoiled, fields = (4,), (*FIELDS, *TWO)
    undisturbed = Run("run-two-undisturbed", book.out, fields, devices=2, spoiled=spoiled)
    undisturbed.start()
    if any(codes := undisturbed.wait()):
        raise SystemExit(f"the undisturbed run ended with {codes}: {undisturbed.said[-3000:]}")
    run, begun = Run("run-two", book.out, fields, processes=2, spoiled=spoiled), time.perf_counter()

    def told(kind: str, what: str, seen: str, ok: bool = True) -> None:
        nonlocal begun
        book.fault(kind, what, run, seen, time.perf_counter() - begun, ok)
        begun = time.perf_counter()

    run.start()
    run.until(lambda: len(run.checkpoints()) > 1 and run.stepped() > 6)
    which = chance.randrange(2)
    run.kill(signal.SIGKILL, which)
    told("one_killed", "SIGKILL of one process in two.", _named(run, which, LOST, f"process {which} ", "is gone"))

    run.processes, run.devices = 1, 2
    newest, said = _flip(run, chance), ""
    if _may_mount():
        with Mounted(run.workdir, "tmpfs", f"size={_used(run.workdir) + chance.randint(10, 60)}k"):
            run.start()
            told(full_disk.__name__, full_disk.__doc__, _ended(run, [1], "No space left"))
        said = run.said
    else:
        print(f"skipped, for it needs root: {full_disk.__name__}")
    run.start()
    codes = run.wait()
    told(flipped_byte.__name__, flipped_byte.__doc__, _fell_back(said or run.said, newest, run))
    curves = [(each.workdir / "metrics.jsonl").read_text() for each in (run, undisturbed)]
    skipped = [line["skipped"] for line in map(json.loads, curves[0].splitlines()) if line["split"] == "train"]
    told("nonfinite", "A gradient that is not finite.", f"step {spoiled[0] + 1} skipped and counted", skipped[-1] == len(spoiled))
    book.end(run, not any(codes) and apart(*curves) < 1e-5, "the same figures, but for rounding")


def nonfinite(book: Book) -> None:
    """Gradients that are not finite: skipped and counted; killed and gone on with, the same; too many in a row, stopped."""
    spoiled, fields = (4, 5, 9), (*FIELDS, "optim.skip_nonfinite=3", "steps=24")
    runs = [Run(f"run-spoiled-{i}", book.out, fields, spoiled=spoiled) for i in range(2)]
    runs[0].start(), runs[0].wait()
    killed_in_step(runs[1], random.Random(1))
    runs[1].start(), runs[1].wait()
    metrics = [(run.workdir / "metrics.jsonl").read_text() for run in runs]
    lines = [line for line in map(json.loads, metrics[0].splitlines()) if line["split"] == "train"]
    counted = [line["skipped"] for line in lines] == [sum(i < line["step"] for i in spoiled) for line in lines]
    book.end(runs[1], metrics[0] == metrics[1])
    for step in spoiled:
        seen = f"step {step + 1} skipped and counted"
        book.fault("nonfinite", "A gradient that is not finite.", runs[1], seen, 0, counted and len(lines) == 24)
    stubborn = Run("run-stubborn", book.out, fields, spoiled=(7, 8, 9))
    stubborn.start()
    seen = _ended(stubborn, [1], "not finite 3 times in a row")
    stubborn.spoiled = ()
    stubborn.start()
    ok = stubborn.wait() == [0]
    book.fault("nonfinite_in_a_row", "As many such in a row as end a run; the data is mended.", stubborn, seen, 0, ok)


def table(reports: list[dict]) -> str:
    """The faults by kind, as Markdown."""
    events = [event for report in reports for event in report["faults"]]
    lines = ["| processes | fault | times | as it should be |", "|---|---|---|---|"]
    for processes, what in dict.fromkeys(sorted((event["processes"], event["what"]) for event in events)):
        good = [event["ok"] for event in events if (event["processes"], event["what"]) == (processes, what)]
        lines.append(f"| {processes} | {what.rstrip('.')} | {len(good)} | {sum(good)} |")
    return "\n".join([*lines, f"| | all | {len(events)} | {sum(event['ok'] for event in events)} |"])


def _drawn(kinds: dict[Callable, int], count: int, chance: random.Random, each: bool = False) -> list[Callable]:
    """So many faults of these kinds, in random order, as often as their weights say."""
    able = [kind for kind in kinds if kind not in NEEDS_ROOT or _may_mount()]
    for kind in kinds.keys() - set(able):
        print(f"skipped, for it needs root: {kind.__name__}")
    if not able:
        return []
    whole = sum(kinds[kind] for kind in able)
    times = {kind: 1 if each else max(1, round(count * kinds[kind] / whole)) for kind in able}
    drawn = [kind for kind in able for _ in range(times[kind])]
    chance.shuffle(drawn)
    return drawn


class Mounted:
    """A directory on a file system of its own while the block runs, or read-only; its files go in and come out."""

    def __init__(self, directory: Path, kind: str, options: str):
        self.directory, self.kind, self.options = directory, kind, options

    def __enter__(self):
        if self.kind:
            place = self.directory.with_name(self.directory.name + ".mount")
            place.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", self.kind, "-o", self.options, self.kind, str(place)], check=True)
            self.kept = self.directory.with_name(self.directory.name + ".kept")
            shutil.copytree(self.directory, place, dirs_exist_ok=True)
            os.rename(self.directory, self.kept)
            self.directory.mkdir()
            subprocess.run(["mount", "--move", str(place), str(self.directory)], check=False)
            if not os.path.ismount(self.directory):  # not from a shared mount
                subprocess.run(["mount", "--bind", str(place), str(self.directory)], check=True)
            self.place = place
        else:
            subprocess.run(["mount", "--bind", str(self.directory), str(self.directory)], check=True)
            subprocess.run(["mount", "-o", f"remount,bind,{self.options}", str(self.directory)], check=True)

    def __exit__(self, *_):
        if self.kind:
            saved = self.directory.with_name(self.directory.name + ".saved")
            shutil.copytree(self.directory, saved, symlinks=True)
        subprocess.run(["umount", str(self.directory)], check=True)
        if self.kind:
            if os.path.ismount(self.place):
                subprocess.run(["umount", str(self.place)], check=True)
            self.place.rmdir(), self.directory.rmdir()
            os.rename(saved, self.directory)
            shutil.rmtree(self.kept)


def _may_mount() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None


def _used(folder: Path) -> int:
    """KiB that a directory takes on a file system with pages of 4 KiB."""
    return sum(-(-path.lstat().st_size // 4096) * 4 + 4 for path in folder.rglob("*"))


def _advance(run: Run) -> None:
    """To the next checkpoint but one, and a polite end: no fault."""
    stop = run.newest() + 6
    run.start()
    run.until(lambda: run.newest() >= stop)
    run.kill(signal.SIGTERM)
    run.wait()


def _into_steps(run: Run, chance: random.Random, host: str | None = None) -> None:
    """Starts the run and waits until it has done one to four steps."""
    stop = run.newest() + chance.randint(1, 4)
    run.start(host)
    run.until(lambda: run.stepped() >= stop)


def _dead(run: Run) -> str:
    codes = run.wait()
    return "killed" if set(codes) == {-signal.SIGKILL} else f"WRONG: codes {codes}: {run.said[-1500:]}"


def _ended(run: Run, codes: list[int], word: str) -> str:
    """The run must have ended with these codes and, in one line, with these words."""
    found = run.wait()
    lines = [line for line in run.said.splitlines() if word in line]
    if found != codes or not lines or "Traceback" in run.said:
        return f"WRONG: codes {found}: {run.said[-2500:]}"
    return _short(lines[0], run)


def _named(run: Run, which: int, code: int, *words: str) -> str:
    """All processes but one must have ended with this code and a line with these words."""
    found = run.wait()
    lines = [line for line in run.errors() if all(word in line for word in words)]
    others = [found[i] for i in range(run.processes) if i != which]
    if set(others) != {code} or len(lines) < run.processes - 1 or "Traceback" in run.said:
        return f"WRONG: codes {found}: {run.said[-3500:]}"
    return _short(lines[0], run)


def _falls_back(run: Run, newest: int) -> str:
    """The damaged checkpoint is said, the one before is taken; then the run is killed."""
    run.start()
    run.until(lambda: "resuming at step" in run.told())
    run.kill()
    run.wait()
    return _fell_back(run.said, newest, run)


def _fell_back(said: str, newest: int, run: Run) -> str:
    lines = [line for line in said.splitlines() if "is damaged" in line]
    if f"resuming at step {newest:,}" in said:  # after the checksum of every array
        return "not needed: every array is what was saved"
    if not lines or f"{newest} is damaged" not in lines[0] or "which is whole" not in said:
        return f"WRONG: {said[-2500:]}"
    return _short(lines[0], run)


def _flip(run: Run, chance: random.Random) -> int:
    """Flips a bit in the newest checkpoint; its step."""
    newest = run.checkpoints()[-1]
    files = [path for path in (run.workdir / "checkpoints" / str(newest)).rglob("*") if path.is_file() and path.stat().st_size > 64]
    _flip_in(chance.choice([path for path in files if "/d/" in str(path)] or files), chance)
    return newest


def _flip_in(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def _part(run: Run, chance: random.Random) -> tuple[int, Path]:
    """The step of the newest checkpoint, and one of its files that hold what a process other than the first has written."""
    newest = run.checkpoints()[-1]
    files = (run.workdir / "checkpoints" / str(newest)).rglob("*")
    return newest, chance.choice(sorted(path for path in files if re.search(r"/ocdbt\.process_[1-9]\d*/d/", str(path))))


def _short(line: str, run: Run) -> str:
    return line.replace(str(run.workdir), "DIR").replace(str(run.out), "OUT")[:300]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
