"""How fast requests become sound and motion, and against F5-TTS's own sampler. Two forms; both print Markdown.

    python -m benchmarks.sampling [--shape base|small] [--seconds 5,10,20] [--batch 1,8,32] [--evaluations 7,16,32]
    python -m benchmarks.sampling --f5tts F5ENV/bin/python [--seconds 5] [--evaluations 7] [--rounds 3]

Random weights of the stated shape: the arithmetic is that of trained ones. The first form asks for speech and motion from text
and a reference of a quarter of the clip, guidance 2, Euler, and prints for each cell

    real time    seconds of the wall for one second of results: all of a batch, from requests to samples and motion
    CPU          the same by the process's own CPU clock (a busy machine); on an accelerator it is what the host does
    model, vocoder, rest      shares of the wall: the solve, Vocos, and everything else
    first call   seconds of the first call of the cell, with compilation (or what the cache holds of it)

The second form is speech alone at the full F5TTS_v1_Base shape in float32: one request through F5-TTS's CFM.sample (PyTorch,
F5ENV as in benchmarks/f5tts_check.py) and through `flow.generate`, with the same weights, noise, steps and guidance, in turns, each
with all cores and alone; the results must agree to 1e-3. bfloat16 is reported beside it.
"""
import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
from flax import linen as nn

from jamflow_jax.audio.vocoder import decode, init_vocos
from jamflow_jax.flow import generate as sampler
from jamflow_jax.flow.generate import Request, SampleConfig, generate
from jamflow_jax.model import AudioConfig, JamFlowConfig, MotionConfig, init, init_audio
from jamflow_jax.timeline import mel_frames_of_seconds
from launch.compile_cache import use_compile_cache

SMALL = {"width": 192, "depth": 6, "heads": 3}
SHAPES = {  # base: configs/base.py; small: configs/quickstart.py
    "base": JamFlowConfig(),
    "small": JamFlowConfig(AudioConfig(**SMALL, text_width=128, text_layers=2), MotionConfig(**SMALL)),
}
LETTERS = 15  # of text a second


def random_weights(make, *arguments):
    """Arrays of the shapes that `make(*arguments, key)` gives; small, so that 32 steps stay finite."""
    shapes = nn.unbox(jax.eval_shape(lambda key: make(*arguments, key), jax.random.key(0)))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jax.device_put(np.float32(0.02) * rng.standard_normal(leaf.shape, np.float32)), shapes)


def request(config: JamFlowConfig, seconds: float, seed: int, **more) -> Request:
    """Text, and a reference of a quarter of the clip."""
    rng, frames = np.random.default_rng(seed), mel_frames_of_seconds(seconds)
    text = rng.integers(0, config.audio.text_vocab, round(LETTERS * seconds))
    mel = rng.standard_normal((frames // 4, config.audio.mel_dim)).astype(np.float32)
    return Request(frames, text_ids=text, mel=mel, seed=seed, **more)


class Stopwatch:
    """Adds up the wall of what is called through it."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *args, **kwargs):
        start = time.perf_counter()
        result = jax.block_until_ready(self.function(*args, **kwargs))
        self.seconds += time.perf_counter() - start
        return result


def table(o: argparse.Namespace) -> None:
    """The first form."""
    config = SHAPES[o.shape]
    config = dataclasses.replace(
        config, audio=dataclasses.replace(config.audio, dtype=o.dtype), motion=dataclasses.replace(config.motion, dtype=o.dtype))
    params = random_weights(init, config)
    vocoder = random_weights(init_vocos, 512, 1536, 8)
    count = sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {o.shape} shape ({count:.0f} M parameters), {o.dtype}\n")
    print("| clip | requests | evaluations | real time | CPU | model | vocoder | rest | first call, s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for seconds in map(float, o.seconds.split(",")):
        for batch in map(int, o.batch.split(",")):
            for steps in map(int, o.evaluations.split(",")):
                requests = [request(config, seconds, seed) for seed in range(batch)]
                sample = SampleConfig(steps=steps, grid="epss", max_batch=batch)
                best = None
                for turn in range(o.rounds + 1):
                    solve, sound = Stopwatch(sampler_solve), Stopwatch(decode)
                    sampler._solve = solve
                    wall, cpu = time.perf_counter(), time.process_time()
                    for result in generate(config, params, requests, sample):
                        sound(vocoder, result.mel)
                    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                    if turn == 0:
                        first = wall
                    elif best is None or wall < best[0]:
                        best = wall, cpu, solve.seconds, sound.seconds
                wall, cpu, model, vocos = best
                shares = " | ".join(f"{100 * part / wall:.0f} %" for part in (model, vocos, wall - model - vocos))
                made = batch * seconds
                cells = f"{seconds:g} s", batch, steps, f"{wall / made:.4f}", f"{cpu / made:.4f}", shares, f"{first:.1f}"
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


sampler_solve = sampler._solve


def against(o: argparse.Namespace) -> int:
    """The second form. Returns 1 if the results differ."""
    from jamflow_jax.text.tokenizer import Tokenizer
    from jamflow_jax.torch_io.export import write_audio_only

    config = SHAPES[o.shape]
    params = {"audio": random_weights(init_audio, config.audio)}
    o.out.mkdir(parents=True, exist_ok=True)
    vocabulary = Tokenizer("char", (" ", *(chr(0x4E00 + i) for i in range(config.audio.text_vocab - 1))))
    checked = write_audio_only(o.out, config.audio, params["audio"], vocabulary, "random")
    print(f"exported, largest difference of a velocity in PyTorch: {checked}", file=sys.stderr, flush=True)
    program = [o.f5tts, str(Path(__file__).with_name("f5tts_check.py")), "serve", str(o.out), str(o.out)]
    threads, failed = len(os.sched_getaffinity(0)), False
    child = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n", "F5-TTS did not start; see its message above"
        print(f"{jax.devices()[0].device_kind}, {threads} threads, jax {jax.__version__}, {o.shape} shape, best of {o.rounds}\n")
        print("| clip | evaluations | F5-TTS: wall, s | CPU, s | float32: wall, s | CPU, s | F5-TTS / float32: wall | CPU "
              "| bfloat16: wall, s | CPU, s | difference |\n|---|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
        for seconds in map(float, o.seconds.split(",")):
            for steps in map(int, o.evaluations.split(",")):
                ours, row = request(config, seconds, 0, want_motion=False), {}
                np.savez(o.out / "request.npz", mel=ours.mel, text=ours.text_ids)
                asked = {"frames": ours.length, "steps": steps, "threads": threads}
                for turn in range(o.rounds + 1):
                    child.stdin.write(json.dumps(asked | ({"steps": 1} if turn == 0 else {})) + "\n")
                    child.stdin.flush()
                    row.setdefault("F5-TTS", []).append(json.loads(child.stdout.readline()))
                    theirs = np.load(o.out / "f5tts.npz")
                    for dtype in ("float32", "bfloat16")[: 1 if o.no_bfloat16 else 2]:
                        shape = dataclasses.replace(config, audio=dataclasses.replace(config.audio, dtype=dtype),
                                                    motion=dataclasses.replace(config.motion, dtype=dtype))  # fmt: skip
                        wall, cpu = time.perf_counter(), time.process_time()
                        sample = SampleConfig(steps=steps, grid="epss")
                        (result,) = generate(shape, params, [ours], sample, noise=[{"audio": theirs["noise"]}])
                        spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
                        row.setdefault(dtype, []).append(spent)
                        if dtype == "float32" and turn:
                            difference = np.abs(result.mel - theirs["mel"]).max()
                    if turn:  # a busy machine may stop us: what is known so far
                        said = {name: turns[-1] for name, turns in row.items()}
                        print(f"{seconds:g} s, {steps} evaluations, round {turn}: {said}", file=sys.stderr, flush=True)
                best = {name: [min(turn[clock] for turn in turns[1:]) for clock in ("wall", "cpu")] for name, turns in row.items()}
                f5, f32, b16 = best["F5-TTS"], best["float32"], best.get("bfloat16", [np.nan] * 2)
                print(f"| {seconds:g} s | {steps} | {f5[0]:.1f} | {f5[1]:.1f} | {f32[0]:.1f} | {f32[1]:.1f} | {f5[0] / f32[0]:.2f} "
                      f"| {f5[1] / f32[1]:.2f} | {b16[0]:.1f} | {b16[1]:.1f} | {difference:.1e} |", flush=True)  # fmt: skip
                failed |= not difference <= 1e-3
    finally:
        child.stdin.close()
        child.wait()
    return int(failed)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="base")
    parser.add_argument("--seconds", default="5,10,20")
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--evaluations", default="7,16,32")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the first form")
    parser.add_argument("--rounds", type=int, default=2, help="calls of a cell after the first one; the fastest counts")
    parser.add_argument("--f5tts", metavar="PYTHON", help="of an environment with F5-TTS: the second form")
    parser.add_argument("--no-bfloat16", action="store_true", help="leave it out of the second form")
    parser.add_argument("--out", type=Path, default=Path("runs/sampling"), help="of the second form: 1.4 GB of weights")
    options = parser.parse_args(argv)
    use_compile_cache()
    return against(options) if options.f5tts else table(options) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
