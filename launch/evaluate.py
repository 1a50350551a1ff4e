"""Measures how well a model's mouth follows speech it has never heard, in the four rows of evaluate/mouth.py.

    jamflow evaluate --model RUN --data DIR [--split test] [--clips N] [--guidance 2]

Audio -> motion: one sample per clip, from its sound alone (no text; --rest gives the rest of the face too), guidance fixed
beforehand. The training split makes the mean curve and trains the ridge. Writes RUN/evaluation/audio-to-motion-SPLIT.json and .md.
"""
import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np

from launch.exits import CLEAN, SOME_REJECTED, Parser, one_line_errors
from launch.outputs.staging import write_text
from launch.sample import add_solver_options, sample_config

TRAINING_CLIPS = 2_000  # at most, for the mean curve and the ridge
SHOWN = 8  # clips whose curves are kept in the JSON


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(argv)
    config = sample_config(options)

    from data_pipelines.dataset import Corpus
    from jamflow_jax.config import to_dict
    from jamflow_jax.errors import InputError
    from jamflow_jax.evaluate.mouth import opening_curve, pearson, score
    from jamflow_jax.train.bundle import load_model
    from launch.compile_cache import use_compile_cache

    use_compile_cache()
    model = load_model(options.model, ema=not options.raw, step=options.step)
    corpus = Corpus(options.data, model.space)
    test, damaged = _clips(corpus, options.split, options.clips)
    train, damaged_too = _clips(corpus, "train", TRAINING_CLIPS)
    if len(test) < 2 or len(train) < 2:
        raise InputError(f"{','.join(options.data)}: {len(test)} {options.split} and {len(train)} training clips with sound and "
                         "motion; at least 2 of each are needed")  # fmt: skip
    print(f"model {options.model}, step {model.step:,}; {len(test)} {options.split} clips, {len(train)} training clips", flush=True)
    for origin in model.origins:
        print(f"  {origin}", flush=True)
    start = time.perf_counter()
    motions = generate_motion(model, [record for record, _ in test], config, options.rest, options.seed)
    seconds = time.perf_counter() - start
    generated = [opening_curve(motion, model.space) for motion in motions]
    held_out = [clip for _, clip in test]
    table = score([clip for _, clip in train], held_out, generated)
    result = {
        "task": options.task, "split": options.split, "model": str(options.model), "data": options.data, "step": model.step,
        "origins": [dataclasses.asdict(origin) for origin in model.origins],
        "sample": to_dict(config), "rest": options.rest, "seed": options.seed, "seconds": round(seconds, 2),
        "seconds_of_motion": round(sum(len(motion) for motion in motions) / 25, 2), **table.to_json(),
        "curves": [
            {"id": clip.id, "text": record.text, "speaker": record.speaker, "r": pearson(curve, clip.opening_M),
             "truth": _rounded(clip.opening_M), "model": _rounded(curve)}
            for (record, clip), curve in list(zip(test, generated))[:SHOWN]
        ],
    }  # fmt: skip
    print(table.text())
    print(f"generated {result['seconds_of_motion']:.1f} s of motion in {seconds:.1f} s")
    out = Path(options.out or Path(options.model) / "evaluation")
    stem = f"{options.task}-{options.split}"
    command = f"`jamflow evaluate --model {options.model} --data {','.join(options.data)} --split {options.split}`"
    settings = f"step {model.step:,}, {config.steps} {config.method} steps, guidance {options.guidance}"
    write_text(out / f"{stem}.md", f"{table.markdown()}\n\n{command}, {settings}.\n")
    write_text(out / f"{stem}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"  {out / stem}.json\n  {out / stem}.md")
    return SOME_REJECTED if damaged + damaged_too else CLEAN


def generate_motion(model, records: list, config, rest: bool, seed: int) -> list[np.ndarray]:
    """Motion [M, D] in raw units for the sound of each record; clip i's noise comes from seed + i."""
    from jamflow_jax.flow.generate import Request, generate
    from launch.ask import stage_one

    space, requests = model.space, []
    for i, record in enumerate(records):
        request = Request(record.length, want_audio=False, want_motion=True, mel=record.mel.astype(np.float32), seed=seed + i)
        request.mel_known = np.ones(record.length, bool)
        if rest and space.rest_dim:
            request.rest = space.split(model.statistics.normalise(record.motion))[1]
        if model.config.stage == 1:
            stage_one(request, model, ("motion",))
        requests.append(request)
    mouth = model.statistics.mouth(space)
    results = generate(model.config.model, model.params, requests, config)
    return [space.merge(mouth.denormalise(result.mouth), None, model.statistics.mean) for result in results]


def _clips(corpus, split: str, most: int | None) -> tuple[list[tuple], int]:
    """[(record, mouth.Clip)] of a split's clips with sound and motion, evenly spread if more than `most`; how many are damaged."""
    from jamflow_jax.errors import InputError
    from jamflow_jax.evaluate.mouth import Clip, opening_curve

    chosen, found, damaged = corpus.index.select(split, ("audio", "motion")), [], 0
    if most is not None and len(chosen) > most:
        chosen = chosen[np.linspace(0, len(chosen) - 1, most).astype(int)]
    for i in chosen:
        try:
            record = corpus.record(int(i))
        except InputError as error:
            print(f"rejected {error}", file=sys.stderr)
            damaged += 1
            continue
        found.append((record, Clip(record.id, record.mel.astype(np.float32), opening_curve(record.motion, corpus.space))))
    return found, damaged


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _parser() -> argparse.ArgumentParser:
    parser = Parser("evaluate", __doc__)
    parser.add_argument("--model", required=True, metavar="RUN", help="the --workdir of a training run")
    parser.add_argument("--data", required=True, type=lambda text: text.split(","), metavar="DIR", help="a data set, or several")
    parser.add_argument("--split", default="test", choices=("test", "validation", "train"))
    parser.add_argument("--task", default="audio-to-motion", choices=("audio-to-motion",))
    parser.add_argument("--clips", type=int, metavar="N", help="at most this many, evenly spread (default: all)")
    parser.add_argument("--rest", action="store_true", help="give the true motion of the rest of the face")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default %(default)s)")
    parser.add_argument("--out", metavar="DIR", help="default: RUN/evaluation")
    add_solver_options(parser.add_argument_group("the solver"))
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
