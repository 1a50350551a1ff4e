"""The main job end to end on an embedded data set: prepare, train, be killed, resume, do every task, measure, report.

    make quickstart          (jamflow quickstart)
    jamflow quickstart --fresh        starts anew; without it finished parts are kept and an unfinished training resumes
    jamflow quickstart --tiny         the same in about a minute and a half, with a model too small to be any good

Everything is under runs/quickstart; the last line names the report to open.
"""
import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from launch.exits import CLEAN, NOTHING_USABLE, Parser, one_line_errors
from launch.memory import Peak
from launch.outputs.staging import write_text

ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much of everything."""

    minutes: float = 16.0  # of speech in the data set
    overrides: tuple[str, ...] = ()  # of configs/quickstart.py
    kill_after: float = 0.58  # of the steps; then SIGKILL
    sample_steps: int = 32
    evaluate_steps: int = 16
    clips: int | None = None  # held-out clips measured; None: all


TINY = Settings(
    minutes=1.0,
    overrides=(
        "steps=60", "log_every=2", "optim.warmup=10", "checkpoint.every=12", "evaluation.every=30", "evaluation.batches=1",
        "data.buckets=360,", "data.max_batch=4", "data.batch_frames=1440", "model.joint_layers=0",
        *(f"model.{stream}.{size}" for stream in ("audio", "motion") for size in ("width=64", "depth=2", "heads=2", "head_dim=32")),
        "model.audio.text_width=32", "model.audio.text_layers=1",
    ),
    kill_after=0.55,
    sample_steps=6,
    evaluate_steps=6,
    clips=6,
)  # fmt: skip


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser("quickstart", __doc__)
    parser.add_argument("--tiny", action="store_true", help="the whole path with a model too small to be any good")
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier call left and start anew")
    parser.add_argument("--out", metavar="DIR", help="default: runs/quickstart (--tiny: runs/quickstart-tiny)")
    options = parser.parse_args(argv)
    folder = Path(options.out or ("runs/quickstart-tiny" if options.tiny else "runs/quickstart"))
    if options.fresh and folder.exists():
        _remove(folder)
    job = Job(folder, TINY if options.tiny else Settings())
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    say(f"quickstart in {folder}" + ("; parts that an earlier call finished are kept (--fresh starts anew)" if job.resumes else ""))
    with Peak() as peak:
        job.part("data", "prepare", "espeak-ng speaks, a face made by rule moves: a data set with known truth", job.data)
        job.part("train", "train", "a small joint model; killed once on the way (SIGKILL) and resumed", job.train)
        job.part("sample", "sample", "all seven tasks on held-out clips", job.sample)
        job.part("evaluate", "evaluate", "audio -> motion on the held-out split, four rows", job.evaluate)
        job.part("report", "report", "one self-contained page", job.report, always=True)
    total = sum(job.state[name]["seconds"] for name in PARTS)
    most = max(job.state[name]["peak_bytes"] for name in PARTS)
    say(f"done in {_time(peak.seconds)} (all parts together {_time(total)}), peak memory {most / 2**30:.2f} GiB")
    say(f"open {(folder / 'report.html').resolve()}")
    return CLEAN


PARTS = ("data", "train", "sample", "evaluate", "report")


class Job:
    """The parts, and what is known of those that are finished (state.json)."""

    def __init__(self, folder: Path, settings: Settings):
        self.folder, self.settings = folder, settings
        self._path = folder / "state.json"
        key = hashlib.sha256(json.dumps(dataclasses.asdict(settings)).encode()).hexdigest()[:12]
        self.state: dict[str, dict] = {}
        if self._path.exists():
            try:
                self.state = json.loads(self._path.read_text())
            except ValueError:
                self.state = {}
            if self.state.get("key") != key:
                say(f"{folder} was made with other settings: starting anew")
                _remove(folder)
                self.state = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.resumes = bool(self.state)
        self.state["key"] = key
        write_text(self._path, json.dumps(self.state) + "\n")

    def part(self, name: str, verb: str, what: str, work, always: bool = False) -> None:
        """Runs one part unless an earlier call finished it; keeps its time and peak memory."""
        number = f"[{PARTS.index(name) + 1}/{len(PARTS)}]"
        before = self.state.get(name, {})
        if before.get("finished") and not always:
            say(f"{number} {verb}: finished earlier in {_time(before['seconds'])}, kept")
            return
        say(f"{number} {verb}: {what}")
        with Peak() as peak:
            facts = work() or {}
        spent = peak.seconds + before.get("spent_before", 0.0)
        self.remember(name, finished=True, seconds=spent, peak_bytes=max(peak.bytes, before.get("peak_bytes", 0)), **facts)
        say(f"{number} {verb}: {_time(spent)}, peak memory {peak.bytes / 2**30:.2f} GiB")

    def remember(self, name: str, **facts) -> None:
        """Adds to what is known of a part."""
        self.state[name] = {**self.state.get(name, {}), **facts}
        write_text(self._path, json.dumps(self.state, indent=1) + "\n")

    # --- the parts

    def data(self) -> dict:
        """Writes the data set; a half-written one is replaced."""
        code = (
            "import sys, os\n"
            "from data_pipelines.prepare.synthetic import prepare_synthetic\n"
            f"r = prepare_synthetic({str(self.folder / 'data')!r}, minutes={self.settings.minutes}, workers=2, overwrite=True)\n"
            "print(r.summary()); sys.exit(r.exit_code)"
        )
        call([sys.executable, "-c", code])
        return {}

    def train(self) -> dict:
        """Trains; the first process is killed with SIGKILL, the same command then resumes."""
        workdir = self.folder / "model"
        command = [
            sys.executable, "-u", "-m", "launch.train", "--config", str(ROOT / "configs" / "quickstart.py"),
            "--workdir", str(workdir), f"--config.data.path={self.folder / 'data'}",
            *(f"--config.{override}" for override in self.settings.overrides),
        ]  # fmt: skip
        if "killed_at" not in self.state.get("train", {}):
            start = time.perf_counter()
            lines = self._train_and_kill(command, workdir)
            if lines is not None:
                resumed = max(map(int, _checkpoints(workdir)), default=0)
                killed = json.loads(lines[-1])["step"]
                say(f"      killed with SIGKILL after step {killed}; the same command goes on from the checkpoint of {resumed}")
                (workdir / "before-the-kill.jsonl").write_text("\n".join(lines) + "\n")
                self.remember("train", killed_at=killed, resumed_from=resumed, spent_before=time.perf_counter() - start)
        start = time.perf_counter()
        call(command)
        facts = {"resume_seconds": time.perf_counter() - start}
        old = workdir / "before-the-kill.jsonl"
        if old.exists():
            again = set((workdir / "metrics.jsonl").read_text().splitlines())
            lines = old.read_text().splitlines()
            since = [line for line in lines if json.loads(line)["step"] > self.state["train"]["resumed_from"]]
            facts |= {"repeated_lines": len(since), "equal_lines": sum(line in again for line in since)}
            say(f"      {facts['equal_lines']} of {len(since)} log lines since that checkpoint came out equal to the last digit")
        # The time of the killed process counts.
        return facts

    def _train_and_kill(self, command: list[str], workdir: Path) -> list[str] | None:
        """Starts training and kills it on the way: the lines it had logged. None when it had finished first."""
        from launch.run_config import load

        total = load(command[5], [word for word in command if word.startswith("--config.")]).steps
        goal = round(self.settings.kill_after * total)
        process = subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, start_new_session=True)  # fmt: skip
        try:
            for line in process.stdout:
                print(f"      {line}", end="", flush=True)
                # The progress line of a step follows its line in metrics.jsonl.
                lines = _logged(workdir)
                if lines and json.loads(lines[-1])["step"] >= goal and _checkpoints(workdir):
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    return _logged(workdir)
        finally:
            if process.poll() is None and sys.exc_info()[0] is not None:
                os.killpg(process.pid, signal.SIGTERM)
        if process.wait():
            raise _failed("training", process.returncode)
        return None

    def sample(self) -> dict:
        """All seven tasks, one request each or two."""
        from launch.showcase import write_requests

        tasks = write_requests(self.folder / "data", self.folder / "inputs")
        write_text(self.folder / "tasks.json", json.dumps(tasks, indent=1, ensure_ascii=False) + "\n")
        call([
            sys.executable, "-m", "launch.sample", "--model", str(self.folder / "model"), "--out", str(self.folder / "samples"),
            "--requests", str(self.folder / "inputs" / "requests.jsonl"), "--steps", str(self.settings.sample_steps),
        ])  # fmt: skip
        return {"requests": len(tasks)}

    def evaluate(self) -> dict:
        """The four rows."""
        clips = [] if self.settings.clips is None else ["--clips", str(self.settings.clips)]
        call([sys.executable, "-m", "launch.evaluate", "--model", str(self.folder / "model"), "--data", str(self.folder / "data"),
              "--out", str(self.folder / "evaluation"), "--steps", str(self.settings.evaluate_steps), "--shown", "0",
              *clips])  # fmt: skip
        return {}

    def report(self) -> dict:
        """The page."""
        from launch.report import write_report

        self.remember("report", seconds=self.state.get("report", {}).get("seconds", 0.0), peak_bytes=0)
        size = write_report(self.folder, self.folder / "report.html")
        say(f"      {self.folder / 'report.html'}, {size / 2**20:.1f} MB")
        return {}


def call(command: list[str]) -> None:
    """Runs a command, its output indented. Raises InputError when it fails (3, some inputs rejected, is no failure)."""
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in process.stdout:
            print(f"      {line}", end="", flush=True)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code not in (0, 3):
        raise _failed(" ".join(command[1:4]), code)


def say(line: str) -> None:
    print(line, flush=True)


def _failed(what: str, code: int):
    from jamflow_jax.errors import InputError

    return InputError(f"{what} ended with exit code {code}; what it said is above (exit {NOTHING_USABLE})")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def _logged(workdir: Path) -> list[str]:
    path = workdir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def _checkpoints(workdir: Path) -> list[str]:
    folder = workdir / "checkpoints"
    return [path.name for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []


def _remove(folder: Path) -> None:
    """Removes what a quickstart made, and nothing that does not look like one."""
    from jamflow_jax.errors import InputError

    if any(folder.iterdir()) and not (folder / "state.json").exists():
        raise InputError(f"{folder} is not empty and not from an earlier quickstart; it is left alone")
    shutil.rmtree(folder)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
