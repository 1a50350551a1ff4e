"""Measures what a model makes of speech and motion it has never seen: per task, every figure with an interval over clips.

    jamflow evaluate --model RUN --data DIR [--task TASK,..] [--split test] [--clips N] [--samples K]
    jamflow evaluate --model RUN --speech-from RUN2 --data DIR --task text-to-both      a cascade: RUN2 speaks, RUN moves to it
    jamflow evaluate --data DIR --baselines-only --out DIR      the metrics alone: truth, mean curve, shifted, shuffled, noised

One sample per clip from what the task gives (launch/evaluation/tasks.py), guidance fixed beforehand; the training split makes mean
curves and trains the probes. Writes RUN/evaluation/TASK-SPLIT.json, .md and .html (docs/evaluation.md).
"""
import argparse
import dataclasses
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np

from launch.arguments import box
from launch.evaluation import tasks
from launch.evaluation.tasks import SAMPLE_STRIDE, TASKS, Take, Task
from launch.exits import CLEAN, SOME_REJECTED, Parser, one_line_errors
from launch.outputs.staging import check_writable, write_text
from launch.sample import add_solver_options, sample_config

FORMAT = 1  # of the JSON
SHOWN = 8  # clips whose curves are kept in the JSON
BASELINES = "baselines"


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(argv)
    config = sample_config(options)

    from data_pipelines.dataset import Corpus
    from jamflow_jax.errors import ConfigError
    from jamflow_jax.parallel.processes import start_processes
    from jamflow_jax.storage import address
    from jamflow_jax.train.bundle import load_model
    from launch.compile_cache import use_compile_cache

    if (options.model is None) != options.baselines_only:
        raise ConfigError("give --model RUN, or --baselines-only and --out DIR to see what the metrics say of the truth")
    if options.model is None and options.out is None:
        raise ConfigError("--baselines-only needs --out DIR")
    if options.samples < 1 or options.retrieval < 2 or options.shown < 0 or (options.clips is not None and options.clips < 2):
        raise ConfigError("--samples is 1 or more, --retrieval and --clips 2 or more, --shown 0 or more")
    if options.out is None and address(options.model):
        raise ConfigError(f"--out DIR is missing: what is measured on {options.model} is written to this machine")
    if options.speech_from is not None and (options.model is None or tasks.CASCADED not in options.task):
        raise ConfigError(f"--speech-from makes the speech of --task {tasks.CASCADED}; add it to --task")
    out = Path(options.out or Path(options.model) / "evaluation")
    check_writable(out)
    start_processes()
    use_compile_cache()
    model = load_model(options.model, ema=not options.raw, step=options.step) if options.model else None
    speaker = load_model(options.speech_from, ema=not options.raw) if options.speech_from else None
    corpus = Corpus(options.data, model.space if model and "motion" in model.params else None)
    chosen = [TASKS[name] for name in options.task] if model else [_baselines(corpus, options.split)]
    if model:
        say(f"model {options.model}, step {model.step:,}, on {','.join(options.data)}")
        for origin in model.origins:
            say(f"  {origin}")
    if speaker:
        say(f"  its speech from {options.speech_from}, step {speaker.step:,}")
    damaged = 0
    for task in chosen:
        result = evaluate(task, model, corpus, options, config, out, speaker if task.name == tasks.CASCADED else None)
        damaged += result["damaged"]
    return SOME_REJECTED if damaged else CLEAN


def evaluate(task: Task, model, corpus, options: argparse.Namespace, config, out: Path, speaker=None) -> dict:
    """One task: generates, scores, and (in the first process) writes; returns what is in the JSON. `speaker`: of a cascade."""
    import jax

    from jamflow_jax.config import to_dict
    from launch.evaluation import clips as held
    from launch.evaluation.gather import own, shared
    from launch.evaluation.rows import Controls
    from launch.evaluation.scores import Scorer

    sounding = "audio" in task.makes or options.shown > 0 or options.syncnet is not None
    clips = held.read(corpus, options.split, task.needs, options.clips, sounding)
    if speaker:
        tasks.check(TASKS["text-to-speech"], speaker, clips.test)
        tasks.check(TASKS["audio-to-motion"], model, clips.test)
    elif model:
        tasks.check(task, model, clips.test)
    tools, notes = _tools(task, clips, options)
    statistics = model.statistics if model else corpus.statistics
    say(f"{task.name}: {len(clips.test)} {options.split} clips, {len(clips.train)} training clips")
    start = time.perf_counter()
    rows = generate(task, model, clips, config, options, speaker) if model else {}
    seconds = time.perf_counter() - start
    controls = Controls(clips, statistics, tools.vocoder)
    scorer = Scorer(task, clips, controls, corpus.space, statistics, tools, rows, alone=options.model_only)
    scores = shared({i: scorer.clip(i) for i in own(len(clips.test))})
    tables, more = scorer.result(scores, options.seed)
    result = {
        "format": FORMAT, "task": task.name, "split": options.split, "model": options.model and str(options.model),
        "speech_from": options.speech_from if speaker else None,
        "data": options.data, "fingerprint": corpus.index.fingerprint(), "step": model.step if model else None,
        "origins": [dataclasses.asdict(origin) for origin in model.origins] if model else [],
        "sample": to_dict(config), "samples": options.samples, "rest": options.rest, "seed": options.seed,
        "clips": len(clips.test), "ids": [clip.id for clip in clips.test], "training_clips": len(clips.train),
        "damaged": clips.damaged, "seconds": round(seconds, 2), "notes": [*notes, *scorer.notes],
        "tables": {table.name: table.to_json() for table in tables}, **more,
    }  # fmt: skip
    made = [row[0] for row in rows.get("model", [])]
    if model and task.name == "audio-to-motion":
        result |= _four_rows(clips, [take.motion_MD for take in made], corpus.space)
        result["seconds_of_motion"] = round(sum(len(take.motion_MD) for take in made) / 25, 2)
    if jax.process_index() == 0:
        stem = out / f"{task.name}-{options.split}"
        if options.shown:
            from launch.evaluation.page import write_shown

            result["shown"] = write_shown(stem, clips, controls, made, task, corpus.space, tools.vocoder, options.shown)
        _write(stem, result, tables, options, config)
    return result


def generate(task: Task, model, clips, config, options: argparse.Namespace, speaker=None) -> dict[str, list[list[Take]]]:
    """Row -> clip -> samples, given streams from the truth. Every process generates its own clips and gets all of them.

    With a `speaker`, it makes the speech from the text and `model` the motion from that speech.
    """
    from launch.evaluation.gather import own, shared

    def rendered(make) -> list[list[Take]]:
        """`make(clip number) -> [(request, prefix)]` of every own clip, generated together and exchanged."""
        asked = {i: make(i) for i in own(len(clips.test))}
        pairs = [pair for pairs in asked.values() for pair in pairs]
        takes = generated(speaker or model, pairs, config)
        if speaker:
            heard = [tasks.hear(model, take, made.seed) for take, (made, _) in zip(takes, pairs)]
            moved = generated(model, heard, config)
            takes = [dataclasses.replace(take, motion_MD=other.motion_MD) for take, other in zip(takes, moved)]
        takes, mine = iter(takes), {}
        for i, pairs in asked.items():
            parts = {}
            for k in range(len(pairs)):
                take = next(takes)
                made = (("mel", take.mel_TF), ("motion", take.motion_MD))
                parts |= {f"{name}{k}": value for name, value in made if value is not None}
            mine[i] = parts
        found = shared(mine)
        count = len(next(iter(asked.values()), [None]))
        return [[filled(i, found[i], k) for k in range(count)] for i in range(len(clips.test))]

    def filled(i: int, parts: dict[str, np.ndarray], k: int) -> Take:
        clip = clips.test[i]
        mel = parts.get(f"mel{k}") if "audio" in task.makes else clip.mel_TF if "audio" in task.given else None
        motion = parts.get(f"motion{k}") if "motion" in task.makes else None
        audio = clip.audio_N if "audio" not in task.makes else None
        return Take(mel, motion, audio)

    def ask(i: int, swapped=None, samples: int = options.samples, first: int = 0) -> list[tuple]:
        seeds = [options.seed + i + SAMPLE_STRIDE * k for k in range(first, first + samples)]
        asked = TASKS["text-to-speech"] if speaker else task
        return [tasks.request(asked, speaker or model, clips.test[i], seed, options.rest, swapped) for seed in seeds]

    rows = {"model": rendered(ask)}
    if task.shuffles is not None:
        if len(task.given) == 1:  # what it made for the other clip is what it makes of the other clip's input
            made = [rows["model"][j] for j in clips.others]
            mine = [clip.mel_TF if "audio" in task.given else None for clip in clips.test]
            rows["model, shuffled"] = [
                [dataclasses.replace(take, mel_TF=take.mel_TF if mel is None else mel, audio_N=None) for take in takes]
                for takes, mel in zip(made, mine)
            ]
        else:
            rows["model, shuffled"] = rendered(lambda i: ask(i, clips.test[clips.others[i]], 1))
    if task.makes == ("audio", "motion") and not task.timed:
        second = [takes[1:] for takes in rows["model"]] if options.samples > 1 else rendered(lambda i: ask(i, samples=1, first=1))
        rows["model, other take"] = [
            [dataclasses.replace(takes[0], motion_MD=other[0].motion_MD)] for takes, other in zip(rows["model"], second)
        ]
    if task.name == "audio-to-motion" and options.rest and model.space.rest_dim and model.config.stage != 1:
        rows["model, rest alone"] = rendered(lambda i: [(tasks.rest_alone(model, clips.test[i], options.seed + i), 0)])
    return rows


def generated(model, requests: list[tuple], config) -> list[Take]:
    """tasks.run, by this name so that a test can stand in for a model."""
    return tasks.run(model, requests, config)


def say(line: str) -> None:
    """Prints in the first process alone."""
    import jax

    if jax.process_index() == 0:
        print(line, flush=True)


def _baselines(corpus, split: str) -> Task:
    """What there are truths of, all of it given and made: the rows without a model."""
    streams = tuple(name for name in ("audio", "motion") if corpus.index.any(split, (name,)))
    both = streams if corpus.index.any(split, streams) else streams[:1]
    return Task(BASELINES, both or ("audio",), both or ("audio",))


def _tools(task: Task, clips, options: argparse.Namespace):
    """What hears, compares voices and makes sound, by the options; and notes on what is left out and why."""
    from jamflow_jax.errors import ConfigError
    from jamflow_jax.evaluate import recognise, voice
    from launch.evaluation.scores import Tools
    from launch.outputs.sound import choose

    notes, hear, embed = [], None, None
    about, vocoder = choose(options.vocoder, options.model or "")
    if "audio" in task.makes:
        texts = [clip.text for clip in clips.test if clip.text]
        named = options.recogniser
        if named == "auto":
            named = recognise.SPHINX if recognise.installed(recognise.SPHINX) else "none"
            if named == "none":
                notes.append("no word errors: pocketsphinx is not installed (pip install 'jamflow-jax[evaluate]')")
        if named != "none" and not texts:
            notes.append("no word errors: the clips have no text")
        elif named != "none":
            grammar = options.grammar
            if grammar == "auto":
                grammar = recognise.grammar_of(texts) if named == recognise.SPHINX else None
            hear = recognise.load(named, None if grammar == "none" else grammar)
        elif options.grammar not in ("auto", "none"):
            raise ConfigError("--grammar needs a recogniser")
        if options.embedder == voice.MFCC and len({clip.speaker for clip in clips.train}) < 2:
            notes.append("no voice similarity: there is one speaker, and mfcc tells clips apart, not voices (--embedder DIR does)")
        elif options.embedder != "none":
            references = [clip.reference or clip for clip in clips.test]
            sounds = [clip.audio_N if clip.audio_N is not None else vocoder(clip.mel_TF, 0) for clip in references]
            embed = voice.load(options.embedder, sounds)
        notes.append(f"sound by {about.split(' (')[0]}")
    for note in notes:
        say(f"  {note}")
    return Tools(vocoder, hear, embed, _lse(options), options.retrieval), notes


def _lse(options: argparse.Namespace):
    """(motion, samples) -> syncnet.Score of the rendered face, where a SyncNet is given. Raises ConfigError, InputError."""
    from jamflow_jax.errors import ConfigError

    if options.syncnet is None:
        return None
    if options.face is None:
        raise ConfigError("--syncnet looks at a talking face: name a picture with --face FILE (and --face-weights, docs/faces.md)")
    from jamflow_jax.evaluate.syncnet import SIDE, SyncNet
    from jamflow_jax.motion.space import get
    from launch.outputs.clip import Clip
    from launch.outputs.portrait import Look, Talker, read_source
    from launch.render import load_networks

    net = SyncNet.load(options.syncnet)
    talk = Talker(load_networks(options.face_weights), read_source(options.face, options.face_box), Look(paste=False))

    def lse(motion_MD: np.ndarray, audio_N: np.ndarray):
        from PIL import Image

        clip = Clip("lse", motion_MD=np.asarray(motion_MD, np.float32), space=get("liveportrait"))
        shown = itertools.islice(talk(clip), talk.lead, None)
        pictures = np.stack([np.asarray(Image.fromarray(picture).resize((SIDE, SIDE))) for picture in shown])
        return net(pictures, audio_N)

    return lse


def _four_rows(clips, motions: list[np.ndarray], space) -> dict:
    """The rows of evaluate/mouth.py, and the first clips' curves."""
    from jamflow_jax.errors import InputError
    from jamflow_jax.evaluate.mouth import Clip, opening_curve, pearson, score

    try:
        train, test = (
            [Clip(clip.id, clip.mel_TF, opening_curve(clip.motion_MD, space)) for clip in part]
            for part in (clips.train, clips.test)
        )
    except InputError:
        return {}
    curves = [opening_curve(motion, space) for motion in motions]
    table = score(train, test, curves)
    say(table.text())
    return {**table.to_json(), "four_rows": table.markdown(), "curves": [
        {"id": clip.id, "text": clip.text, "speaker": clip.speaker, "r": pearson(curve, truth.opening_M),
         "truth": _rounded(truth.opening_M), "model": _rounded(curve)}
        for clip, truth, curve in list(zip(clips.test, test, curves))[:SHOWN]
    ]}  # fmt: skip


def _write(stem: Path, result: dict, tables: list, options: argparse.Namespace, config) -> None:
    """TASK-SPLIT.json, .md and .html, and says where."""
    from launch.evaluation.page import write_page

    for table in tables:
        say(table.text())
    say(f"generated in {result['seconds']:.1f} s" if options.model else "(no model)")
    who = f"--model {options.model}" if options.model else "--baselines-only"
    which = f" --task {result['task']}" if options.model else ""
    command = f"`jamflow evaluate {who} --data {','.join(options.data)} --split {options.split}{which}`"
    if options.model:
        command += f", step {result['step']:,}, {config.steps} {config.method} steps, guidance {options.guidance}"
    parts = [result.pop("four_rows")] if "four_rows" in result else []
    parts += [table.markdown() for table in tables]
    result["command"] = command
    write_text(f"{stem}.md", "\n\n".join([*parts, f"{command}."]) + "\n")
    write_text(f"{stem}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    write_page(f"{stem}.json", f"{stem}.html")
    say(f"  {stem}{{.html,.json,.md}}")


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _tasks(text: str) -> list[str]:
    chosen = list(TASKS) if text == "all" else text.split(",")
    if bad := [name for name in chosen if name not in TASKS]:
        raise argparse.ArgumentTypeError(f"no task {bad[0]!r}; there are {', '.join(TASKS)}, all")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = Parser("evaluate", __doc__)
    parser.add_argument("--model", metavar="RUN", help="the --workdir of a training run")
    parser.add_argument("--data", required=True, type=lambda text: text.split(","), metavar="DIR", help="a data set, or several")
    parser.add_argument("--split", default="test", choices=("test", "validation", "train"))
    parser.add_argument("--task", type=_tasks, default=["audio-to-motion"], metavar="TASK,..",
                        help=f"of {', '.join(TASKS)}; or all (default audio-to-motion)")  # fmt: skip
    parser.add_argument("--speech-from", metavar="RUN2", help="of text-to-both: its speech; --model makes motion of that speech")
    parser.add_argument("--model-only", action="store_true", help="score the model's rows alone, as sweeps do")
    parser.add_argument("--baselines-only", action="store_true", help="no model: what the metrics say of truth, mean, shifted ...")
    parser.add_argument("--clips", type=int, metavar="N", help="at most this many, evenly spread (default: all)")
    parser.add_argument("--samples", type=int, default=1, metavar="K", help="per clip; 2 or more show diversity (default 1)")
    parser.add_argument("--rest", action="store_true", help="give the true motion of the rest of the face; shows what leaks")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default %(default)s)")
    parser.add_argument("--out", metavar="DIR", help="default: RUN/evaluation")
    parser.add_argument("--shown", type=int, default=2, metavar="N", help="clips to play in the page, 0 for none (default 2)")
    tools = parser.add_argument_group("what measures")
    tools.add_argument("--recogniser", default="auto", metavar="NAME",
                       help="pocketsphinx, the folder of a Whisper, or none (default: pocketsphinx if installed)")  # fmt: skip
    tools.add_argument("--grammar", default="auto", metavar="FILE",
                       help="JSGF for pocketsphinx, or grid, or none (default: by the texts)")  # fmt: skip
    tools.add_argument("--embedder", default="mfcc", metavar="NAME", help="mfcc, the folder of a WavLM x-vector model, or none")
    tools.add_argument("--vocoder", metavar="FILE", help="as of jamflow sample")
    tools.add_argument("--retrieval", type=int, default=10, metavar="N", help="motions to find the right one among (default 10)")
    tools.add_argument("--syncnet", metavar="FILE", help="a SyncNet for LSE-C and LSE-D; needs --face")
    tools.add_argument("--face", metavar="FILE", help="the picture that says it for --syncnet")
    tools.add_argument("--face-box", metavar="L,T,R,B", type=box, help="the face's box in pixels; default: the middle")
    tools.add_argument("--face-weights", metavar="DIR", help="LivePortrait's files; default as of jamflow render")
    add_solver_options(parser.add_argument_group("the solver"))
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
