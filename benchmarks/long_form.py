"""Seams and memory of long outputs: speech and motion from one long text, piece by piece, to files.

    python -m benchmarks.long_form --model RUN [--minutes 2,10] [--window 6] [--steps 7] [--out runs/long_form]

Each length runs in a process of its own; sound and motion are written as they come. Prints, for each, the peak resident memory, and
how far neighbouring frames (of mel and motion, Euclidean, normalised) or samples lie apart, where two pieces (of the sound: two of
the vocoder's windows) meet and elsewhere: median, 99 % and largest.
Ends with exit code 1 if a step at a seam is larger than every step within pieces, or if memory grew by more than 5 % from the
shortest to the longest.

A model trained on short clips wants a window as short as they: the quickstart's, --window 6.
"""
import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

TEXT = (
    "the river was quiet in the morning. a boat went by, slow and white. nobody on the bank said a word. then the bells began, "
    "one after the other, far away. she counted them and walked on. there was bread on the table and the window stood open. "
)
GROWTH = 1.05


class Steps:
    """Distances between neighbouring frames of a stream that comes in pieces; quantiles within them are of every `thin`-th one."""

    def __init__(self, thin: int = 1):
        self.thin, self.most = thin, 0.0
        self.last, self.within, self.seams = None, [], []

    def add(self, piece_LD: np.ndarray) -> None:
        if self.last is not None:
            self.seams.append(float(np.linalg.norm(piece_LD[0] - self.last)))
        apart = np.linalg.norm(np.diff(piece_LD, axis=0), axis=1).astype(np.float32)
        self.most = max(self.most, float(apart.max()))
        self.within.append(apart[:: self.thin].copy())
        self.last = piece_LD[-1].copy()

    def summary(self) -> dict:
        def middle(steps):
            return [float(np.quantile(steps, q)) for q in (0.5, 0.99)]

        return {"within": [*middle(np.concatenate(self.within)), self.most], "seams": [*middle(self.seams), max(self.seams)]}


def measure(o: argparse.Namespace, minutes: float) -> dict:
    """One length, in this process."""
    import soundfile

    from jamflow_jax.audio import windows
    from jamflow_jax.flow import long
    from jamflow_jax.flow.generate import Request, SampleConfig
    from jamflow_jax.text.duration import spoken_duration
    from jamflow_jax.text.pieces import split
    from jamflow_jax.timeline import HOP, SAMPLE_RATE
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
    pieces = long.Pieces.of_texts(length, [model.tokenizer.encode(part) for part in texts], [len(part) for part in texts])
    request = Request(length, text_ids=model.tokenizer.encode(text[:1]), seed=1)
    mel, motion, sound = Steps(), Steps(), Steps(thin=256)
    start, folder = time.perf_counter(), Path(o.out)
    folder.mkdir(parents=True, exist_ok=True)

    name = str(folder / f"{minutes:g}")
    with soundfile.SoundFile(f"{name}.wav", "w", SAMPLE_RATE, 1) as wav, open(f"{name}.f32", "wb") as raw:

        def mels():
            for made in long.stream(model.config.model, model.params, request, pieces, SampleConfig(steps=o.steps, grid="epss")):
                mel.add(made.mel)
                motion.add(made.mouth)
                raw.write(made.mouth.tobytes())
                yield made.mel

        for samples in windows.stream(vocoder, mels()):
            if len(samples) > 1:
                sound.add(samples[:, None])
            wav.write(np.clip(samples, -1, 1))
    return {
        "pieces": len(texts), "seconds": time.perf_counter() - start, "cpu": time.process_time(),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "steps": {"mel": mel.summary(), "motion": motion.summary(), "sound": sound.summary()},
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
    print("| minutes | pieces | peak memory, MiB | wall, s | CPU, s | stream | steps within pieces | steps at seams |")
    print("|---|---|---|---|---|---|---|---|")
    peaks, good = [], True
    for minutes in sorted(map(float, o.minutes.split(","))):
        words = [sys.executable, "-m", "benchmarks.long_form", *argv, "--measure", str(minutes)]
        found = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        peaks.append(found["peak"])
        for name, steps in found["steps"].items():
            within, seams = (", ".join(f"{value:.3g}" for value in steps[key]) for key in ("within", "seams"))
            facts = f"{minutes:g} | {found['pieces']} | {found['peak']:.0f} | {found['seconds']:.0f} | {found['cpu']:.0f}"
            print(f"| {facts} | {name} | {within} | {seams} |", flush=True)
            good &= steps["seams"][-1] <= steps["within"][-1]
    return int(not good or peaks[-1] > GROWTH * peaks[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
