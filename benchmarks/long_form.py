"""Seams and memory of long outputs: speech and motion from one long text, piece by piece, to files.

    python -m benchmarks.long_form --model RUN [--minutes 2,10] [--window 6] [--steps 7] [--out runs/long_form]

Each length runs in a process of its own; sound and motion are written as they come. Prints, for each, the peak resident memory, and

- how far neighbouring frames (of mel and motion, Euclidean, normalised) or samples lie apart: median, 99 % and largest, in the
  fades of two pieces (of the sound: of two of the vocoder's windows) with the steps into and out of them, and everywhere else;
- how far two windows lie apart in the frames that both have made and that are cross-faded, over how far windows do that know none
  of the other (this seam's frames and those of the seam before): in the first and in the last frame of the fade, 0 is the same.

Ends with exit code 1 if a step of a fade is larger than every step elsewhere; if the first frames of the fades agree no better than
strangers' (by less than three standard errors over 30 seams or more): what a window was told of the one before did nothing; or if
memory grew by more than 5 % from the shortest to the longest.

A model trained on short clips wants a window as short as they: the quickstart's, --window 6.
"""
import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from jamflow_jax.flow import long
from jamflow_jax.flow.requests import Request, Result
from jamflow_jax.timeline import HOP, SAMPLE_RATE, motion_frames

TEXT = (
    "the river was quiet in the morning. a boat went by, slow and white. nobody on the bank said a word. then the bells began, "
    "one after the other, far away. she counted them and walked on. there was bread on the table and the window stood open. "
)
GROWTH = 1.05
LEAST_PIECES = 5  # four seams, three of them with a seam before
ENOUGH = 30  # seams, to say that windows know nothing of each other


class Steps:
    """Distances between neighbouring frames of a stream that comes in pieces.

    Each piece but the first begins with `fade` frames that are two windows' mixture. Quantiles are of every `thin`-th distance.
    """

    def __init__(self, fade: int, thin: int = 1):
        self.fade, self.thin, self.last = fade, thin, None
        self.kept, self.most = {"fades": [], "elsewhere": []}, {"fades": 0.0, "elsewhere": 0.0}

    def add(self, piece_LD: np.ndarray) -> None:
        joined, mixed = (piece_LD, 0) if self.last is None else (np.concatenate([self.last, piece_LD]), self.fade + 1)
        apart = np.linalg.norm(np.diff(joined, axis=0), axis=1).astype(np.float32)
        for name, part in {"fades": apart[:mixed], "elsewhere": apart[mixed:]}.items():
            self.kept[name].append(part[:: self.thin].copy())
            self.most[name] = max(self.most[name], float(part.max(initial=0)))
        self.last = piece_LD[-1:].copy()

    def summary(self) -> dict[str, list[float]]:
        return {
            name: [*(float(np.quantile(np.concatenate(kept), q)) for q in (0.5, 0.99)), self.most[name]]
            for name, kept in self.kept.items()
        }


class Overlap:
    """How far two windows lie apart in the `fade` frames at the end of a piece, which both have made."""

    def __init__(self, fade: int):
        self.fade, self.end, self.end_before, self.same, self.strangers = fade, None, None, [], []

    def add(self, made_LD: np.ndarray, known_L: np.ndarray | None) -> None:
        """A window's frames, and which of them it was given: all before the fade."""
        if self.end is not None:
            again = made_LD[int(known_L.sum()) :][: self.fade]
            if self.end_before is not None:
                self.same.append(np.linalg.norm(again - self.end, axis=1))
                self.strangers.append(np.linalg.norm(again - self.end_before, axis=1))
        self.end_before, self.end = self.end, made_LD[-self.fade :].copy()

    def summary(self) -> dict[str, float]:
        """Ratios of the first and of the last frame, and by how many standard errors the first ones are nearer than strangers."""
        same, strangers = np.array(self.same), np.array(self.strangers)
        nearer = strangers[:, 0] - same[:, 0]
        first, last = (same.mean(0) / strangers.mean(0))[[0, -1]]
        error = nearer.std(ddof=1) / len(nearer) ** 0.5
        return {"first": float(first), "last": float(last), "nearer": float(nearer.mean() / max(error, 1e-9)), "seams": len(nearer)}


class Seams:
    """Both, of a long output of mel and motion made from text."""

    def __init__(self):
        fades = {"mel": long.FADE, "motion": motion_frames(long.FADE)}
        self.steps = {name: Steps(fade) for name, fade in fades.items()}
        self.overlaps = {name: Overlap(fade) for name, fade in fades.items()}

    def stream(self, *args) -> Iterator[Result]:
        """`long.stream`, looked at on its way."""
        generate = long.generate

        def watched(config, params, requests, sample):
            made = generate(config, params, requests, sample)
            self.overlaps["mel"].add(made[0].mel, requests[0].mel_known)
            self.overlaps["motion"].add(made[0].mouth, requests[0].mouth_known)
            return made

        with mock.patch.object(long, "generate", watched):
            for made in long.stream(*args):
                self.steps["mel"].add(made.mel)
                self.steps["motion"].add(made.mouth)
                yield made


def faults(steps: dict[str, list[float]], overlap: dict[str, float] | None) -> list[str]:
    """What is wrong with a stream's seams."""
    (*_, fades), (*_, elsewhere) = steps["fades"], steps["elsewhere"]
    found = [f"a step of {fades:.3g} in a fade, none above {elsewhere:.3g} elsewhere"] if fades > elsewhere else []
    if overlap and overlap["seams"] >= ENOUGH and overlap["nearer"] < 3:
        found.append(f"windows agree no better than strangers where the second begins ({overlap['nearer']:.1f} standard errors)")
    return found


def measure(o: argparse.Namespace, minutes: float) -> dict:
    """One length, in this process."""
    import soundfile

    from jamflow_jax.audio import windows
    from jamflow_jax.flow.generate import SampleConfig
    from jamflow_jax.text.duration import spoken_duration
    from jamflow_jax.text.pieces import split
    from jamflow_jax.train.bundle import load_model
    from launch.compile_cache import use_compile_cache
    from launch.outputs.sound import choose
    from launch.pieces import window_frames

    use_compile_cache()
    model = load_model(o.model)
    vocoder = choose(o.vocoder, o.model)[1]
    text = TEXT * (1 + int(minutes * 60 * SAMPLE_RATE / HOP / spoken_duration(TEXT)))
    length = round(minutes * 60 * SAMPLE_RATE / HOP)
    text = text[: round(len(text) * length / spoken_duration(text))]
    texts = split(text, len(text) * window_frames(o.window) // (2 * length))
    if len(texts) < LEAST_PIECES:
        sys.exit(f"--minutes {minutes:g}: {len(texts)} pieces; seams are measured over {LEAST_PIECES} or more: "
                 f"make it longer, or --window shorter than {o.window:g}")  # fmt: skip
    pieces = long.Pieces.of_texts(length, [model.tokenizer.encode(part) for part in texts], [len(part) for part in texts])
    request = Request(length, text_ids=model.tokenizer.encode(text[:1]), seed=1)
    seams, sound = Seams(), Steps(windows.FADE * HOP, thin=256)
    start, folder = time.perf_counter(), Path(o.out)
    folder.mkdir(parents=True, exist_ok=True)

    name = str(folder / f"{minutes:g}")
    with soundfile.SoundFile(f"{name}.wav", "w", SAMPLE_RATE, 1) as wav, open(f"{name}.f32", "wb") as raw:

        def mels():
            for made in seams.stream(model.config.model, model.params, request, pieces, SampleConfig(steps=o.steps, grid="epss")):
                raw.write(made.mouth.tobytes())
                yield made.mel

        for samples in windows.stream(vocoder, mels()):
            if len(samples) > 1:
                sound.add(samples[:, None])
            wav.write(np.clip(samples, -1, 1))
    return {
        "pieces": len(texts), "seconds": time.perf_counter() - start, "cpu": time.process_time(),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "steps": {name: steps.summary() for name, steps in (seams.steps | {"sound": sound}).items()},
        "overlaps": {name: overlap.summary() for name, overlap in seams.overlaps.items()},
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="RUN")
    parser.add_argument("--minutes", default="2,10")
    parser.add_argument("--window", type=float, default=6.0)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--vocoder", metavar="FILE")
    parser.add_argument("--out", default="runs/long_form")
    parser.add_argument("--measure", type=float, help="in the process of its own: print JSON")
    o = parser.parse_args(argv)
    if o.measure:
        print(json.dumps(measure(o, o.measure)))
        return 0
    print("| minutes | pieces | peak memory, MiB | wall, s | CPU, s | stream | steps elsewhere | steps in fades | windows apart |")
    print("|---|---|---|---|---|---|---|---|---|")
    peaks, wrong = [], []
    for minutes in sorted(map(float, o.minutes.split(","))):
        words = [sys.executable, "-m", "benchmarks.long_form", *argv, "--measure", str(minutes)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            return done.returncode
        found = json.loads(done.stdout.splitlines()[-1])
        peaks.append(found["peak"])
        for name, steps in found["steps"].items():
            overlap = found["overlaps"].get(name)
            elsewhere, fades = (", ".join(f"{value:.3g}" for value in steps[key]) for key in ("elsewhere", "fades"))
            apart = f"{overlap['first']:.2f}, {overlap['last']:.2f}" if overlap else ""
            facts = f"{minutes:g} | {found['pieces']} | {found['peak']:.0f} | {found['seconds']:.0f} | {found['cpu']:.0f}"
            print(f"| {facts} | {name} | {elsewhere} | {fades} | {apart} |", flush=True)
            wrong += [f"{minutes:g} minutes, {name}: {fault}" for fault in faults(steps, overlap)]
    if peaks[-1] > GROWTH * peaks[0]:
        wrong.append(f"memory grew from {peaks[0]:.0f} to {peaks[-1]:.0f} MiB")
    for fault in wrong:
        print(fault)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
