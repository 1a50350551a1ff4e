"""From a video's pictures to motion, by a program in its own environment (`worker.Worker`); results are kept on disk, one file a
clip.

    mediapipe       478 face landmarks (MediaPipe 0.10.21 FaceMesh), of which LANDMARKS are kept; needs numpy < 2
    liveportrait    expression and head pose by LivePortrait's M, in this process and in batches (liveportrait.py)

Any other program that speaks the protocol is named by its command line. Its hello says what it gives:

    "gives": "landmarks"                        [faces, L, 3] pixels; L = its "landmarks"; position = MediaPipe number
    "gives": "motion", "space", "names"         [faces, D] values of a motion space, the largest face first

A kept file is a motion .npz as any other (`motion_reader`), with the frames' own times: a killed preparation goes on from it, and a
second one into another motion space needs no extraction. Its name is a hash of the video (path, size, time of change), the part of
it, the program with its version, and what is kept.
"""
import atexit
import dataclasses
import hashlib
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from data_pipelines.prepare import video_reader
from data_pipelines.prepare.liveportrait import SPACE, LivePortrait
from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.worker import Worker, WorkerError
from data_pipelines.remote import home, stamp
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.motion.space import GRID_LANDMARKS

LANDMARKS = GRID_LANDMARKS  # lips, outline, eyes, nose, brows, cheeks, chin, irises: 61 of the 478
WORKERS = Path(__file__).parent / "workers"
KNOWN = {"mediapipe": ("mediapipe_face.py", ("mediapipe==0.10.21",))}  # worker file, what its environment needs


@dataclasses.dataclass(frozen=True)
class Extractor:
    """What is to run, and how; small enough to be sent to every process.

    Attributes:
      command: the program; its name alone where it is of this process.
      cache: folder of the kept results.
      ids: landmarks to keep, as MediaPipe numbers.
      one_face: reject clips in which several faces are seen, instead of following the one that is largest at first.
      version: name and version as the program states them; filled in by `ready`.
      gives: its hello's fields that say what comes out; filled in by `ready`.
      here: what runs in this process, instead of a program; `version` says all of it that matters.
    """

    command: tuple[str, ...]
    cache: str
    ids: tuple[int, ...] = LANDMARKS
    one_face: bool = False
    version: str = ""
    gives: str = ""
    here: LivePortrait | None = dataclasses.field(default=None, repr=False)

    def ready(self) -> "Extractor":
        """Starts the program once. Raises ConfigError, in one line, where it cannot run."""
        if self.here is not None:
            gives = {"gives": "motion", "space": SPACE.name, "names": SPACE.dims}
            return dataclasses.replace(self, version=self.here.version(), gives=json.dumps(gives, sort_keys=True), ids=())
        try:
            hello = running(self.command).hello
        except WorkerError as error:
            raise ConfigError(f"the motion extractor does not run: {error}") from None
        gives = {name: hello.get(name) for name in ("gives", "space", "names", "landmarks") if hello.get(name) is not None}
        if gives.get("gives") not in ("landmarks", "motion"):
            raise ConfigError(f"{hello['name']} gives {gives.get('gives')!r}; a motion extractor gives landmarks or motion")
        if gives["gives"] == "landmarks" and max(self.ids) >= gives.get("landmarks", 0):
            raise ConfigError(f"{hello['name']} gives {gives.get('landmarks')} landmarks; there is no number {max(self.ids)}")
        version = f"{hello['name']} {hello.get('version', '')} {hello.get('options', '')}".strip()
        return dataclasses.replace(self, version=version, gives=json.dumps(gives, sort_keys=True))


def environment(name: str) -> Path:
    """Where the environment of a known extractor is by default: below $JAMFLOW_HOME, else ~/.cache/jamflow."""
    return home() / "extractors" / name


def find(
    name: str, cache: str | Path, venv: str | Path | None = None, here: LivePortrait | None = None, **options
) -> Extractor:
    """The extractor of that name, or of that command line, ready to use; `here` is how liveportrait runs. Raises ConfigError."""
    if name == "liveportrait" and here is not None:
        return Extractor((name,), str(cache), here=here, **options).ready()
    if name not in KNOWN:
        words = shlex.split(name)
        if len(words) < 2:
            known = ", ".join((*KNOWN, "liveportrait"))
            raise ConfigError(f"--extractor {name!r} is none of {known}, none, and no command line of a worker")
        return Extractor(tuple(words), str(cache), **options).ready()
    venv = Path(venv or environment(name))
    python = venv / "bin" / "python"
    if not python.exists():
        raise ConfigError(f"{venv}: no environment of extractor {name}; make it with `jamflow data setup {name} --venv {venv}`")
    return Extractor((str(python), str(WORKERS / KNOWN[name][0])), str(cache), **options).ready()


def set_up(name: str, venv: str | Path | None = None, python: str = sys.executable) -> Path:
    """Makes the environment of a known extractor with venv and pip. Raises InputError with pip's last line."""
    if name not in KNOWN:
        raise ConfigError(f"no extractor {name!r}; there are {', '.join(KNOWN)}")
    venv = Path(venv or environment(name))
    steps = [[python, "-m", "venv", str(venv)], [str(venv / "bin" / "python"), "-m", "pip", "install", *KNOWN[name][1]]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise InputError(f"{venv}: {' '.join(step[1:4])} failed: {said[-1]}")
    return venv


def extract(
    extractor: Extractor, path: Path, start: float = 0.0, end: float | None = None, source: Path | None = None
) -> tuple[Path, list[str]]:
    """(motion .npz of that part of the video, notes); read from the cache where it is there.

    Args:
      source: what `path` is a copy of.

    Raises:
      Rejected: no video, no face in it, several where one is wanted, a program that fails on it.
    """
    kept = _kept(extractor, source or path, start, end)
    facts = _facts(kept)
    if facts is None:
        facts = _run(extractor, path, start, end, kept, source or path)
    if not facts["seen"]:
        raise Rejected("no face", f"{path}: no face in any of its {facts['frames']} frames")
    notes = []
    if facts["several"]:
        if extractor.one_face:
            raise Rejected("several faces", f"{path}: several faces in {facts['several']} of {facts['frames']} frames")
        notes.append(f"several faces: in {facts['several']} of {facts['frames']} frames, the one largest at first is followed")
    return kept, notes


def frames_to_do(extractor: Extractor, path: Path, start: float, end: float | None, source: Path | None = None) -> int:
    """Extracts what is not kept yet; how many frames that were. Raises Rejected."""
    kept = _kept(extractor, source or path, start, end)
    return 0 if _facts(kept) else _run(extractor, path, start, end, kept, source or path)["frames"]


def _run(extractor: Extractor, path: Path, start: float, end: float | None, kept: Path, source: Path) -> dict:
    gives = json.loads(extractor.gives)
    if extractor.here is not None:
        times, motion, valid, several = extractor.here.read(path, start, end, source)
        facts = {"frames": len(valid), "seen": int(valid.sum()), "several": several}
        clock = _clock(times)
        motion = motion if facts["seen"] else np.full((1, SPACE.dim), np.nan, np.float32)
        _keep(kept, {
            "motion": motion, **clock, "valid": valid, "facts": np.array(json.dumps(facts)), "names": np.array(gives["names"]),
        })  # fmt: skip
        return facts
    video = video_reader.probe(path)
    times, values, several = [], [], 0
    columns = list(extractor.ids) if gives["gives"] == "landmarks" else slice(None)
    try:
        worker = running(extractor.command)
        worker.clip(str(path))
        last = None
        for time, picture in video_reader.frames(video, start, end):
            faces = worker.ask(picture)
            several += len(faces) > 1
            face = _follow(faces, last) if len(faces) else None
            last = face if face is not None else last
            times.append(time - Fraction(start))
            values.append(None if face is None else face[columns])
    except WorkerError as error:
        drop(extractor.command)
        raise Rejected("extractor failed", f"{path}: frame {len(times)}: {error}") from None
    seen = [value for value in values if value is not None]
    blank = np.full_like(seen[0], np.nan) if seen else np.full((1, 3), np.nan, np.float32)
    facts = {"frames": len(values), "seen": len(seen), "several": several}
    arrays = {
        "motion": np.array([blank if value is None else value for value in values], np.float32),
        **_clock(times),
        "valid": np.array([value is not None for value in values], bool), "facts": np.array(json.dumps(facts)),
        **({"ids": np.array(columns)} if gives["gives"] == "landmarks" else {"names": np.array(gives["names"])}),
    }  # fmt: skip
    _keep(kept, arrays)
    return facts


def _clock(times: list[Fraction]) -> dict[str, np.ndarray]:
    base = math.lcm(*(time.denominator for time in times)) if times else 1
    return {"times": np.array([int(time * base) for time in times], np.int64), "time_base": np.array([1, base], np.int64)}


def _follow(faces: np.ndarray, last: np.ndarray | None) -> np.ndarray:
    """Of landmarks, the face nearest to the last one, or the largest; of anything else the first."""
    if len(faces) == 1 or faces.ndim != 3:
        return faces[0]
    if last is None:
        return faces[int(np.argmax(np.ptp(faces[..., :2], axis=1).prod(-1)))]
    return faces[int(np.argmin(np.linalg.norm(faces[..., :2].mean(1) - last[:, :2].mean(0), axis=-1)))]


def _kept(extractor: Extractor, path: Path, start: float, end: float | None) -> Path:
    """The file that keeps the motion of that part of a video."""
    try:
        identity = [*stamp(path), start, end, extractor.version, list(extractor.ids)]
        if extractor.here is not None:
            identity += extractor.here.identity(path)
    except OSError:
        raise Rejected("missing file", f"{path}: no such file") from None
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    return Path(extractor.cache) / name[:2] / f"{name}.npz"


def _facts(kept: Path) -> dict | None:
    try:
        with np.load(kept, allow_pickle=False) as file:
            return json.loads(file["facts"].item())
    except FileNotFoundError:
        return None
    except Exception:  # a damaged file is made again
        return None


def _keep(path: Path, arrays: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
        try:
            np.savez(file, **arrays)
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


_running: dict[tuple[str, ...], Worker] = {}  # of this process


def running(command: tuple[str, ...]) -> Worker:
    if command not in _running:
        _running[command] = Worker(command)
    return _running[command]


def drop(command: tuple[str, ...]) -> None:
    if worker := _running.pop(command, None):
        worker.close()


@atexit.register
def close() -> None:
    """Ends the programs this process has started."""
    for command in list(_running):
        drop(command)
