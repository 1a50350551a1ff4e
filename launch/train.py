"""Trains a model, or goes on with one: the same command again resumes.

    jamflow train --config configs/x.py [--config.optim.lr=1e-4 ...] --workdir DIR

DIR may be an address, gs://BUCKET/RUN. It becomes self-contained: config, motion space, vocabulary, statistics, checkpoints,
metrics.jsonl, TensorBoard.
SIGTERM or Ctrl-C saves and stops; so does a kill, but for the steps since the last checkpoint.
"""
import argparse
import dataclasses
import sys
from pathlib import Path

from launch.exits import CLEAN, SOME_REJECTED, Parser, end_together, one_line_errors


@end_together
@one_line_errors
def main(argv: list[str]) -> int:
    options, overrides = _parser().parse_known_args(argv)

    from jamflow_jax import storage
    from jamflow_jax.train import events
    from launch import run_config
    from launch.allocator import keep_freed_memory

    keep_freed_memory()
    workdir = storage.at(options.workdir)
    return train(run_config.load(options.config, overrides), workdir, events.Times(events.process_start()))


def train(config, workdir: Path, times) -> int:
    """Opens the data a RunConfig names, fits the model's dimensions to it, and trains in `workdir`; returns the exit code."""
    import jax

    from data_pipelines.loader import open_loader
    from jamflow_jax import storage
    from jamflow_jax.model.backends import description
    from jamflow_jax.parallel.mesh import batch_parts, batch_shards, make_mesh
    from jamflow_jax.parallel.processes import moved, start_processes
    from jamflow_jax.timeline import MEL_BINS
    from jamflow_jax.train import events, export, loop, origins, stages, state
    from jamflow_jax.train import workdir as run_directory
    from launch.compile_cache import use_compile_cache

    start_processes(**dataclasses.asdict(config.processes))
    use_compile_cache()
    first = jax.process_index() == 0
    say = _say if first else (lambda line: None)

    # --- devices and data
    mesh = make_mesh(**dataclasses.asdict(config.mesh))
    features = config.stage == 1 and config.speech == "features"
    loader = open_loader(
        config.data, config.seed, "train", batch_parts(mesh), batch_shards(mesh),
        multiple=batch_shards(mesh) * config.optim.accumulate, require=("motion",) if config.stage == 1 else (),
        speech=features,
    )  # fmt: skip
    moved()
    loader.fixed_batches("validation")  # whatever is wrong with held-out clips is said now, not at the first evaluation
    corpus = loader.corpus

    # --- the model's dimensions follow the data
    model, filled = stages.fit_to_data(
        config.model,
        mouth_dim=corpus.space.mouth_dim, rest_dim=corpus.space.rest_dim, text_vocab=corpus.tokenizer.vocab_size,
        speech_dim=0 if config.stage == 2 else corpus.speech_dim if features else MEL_BINS,
    )  # fmt: skip
    config = dataclasses.replace(config, model=model)

    # --- say what is about to happen
    say(f"data: {config.data.path}: {len(corpus.index):,} clips, {corpus.index.seconds('train') / 3600:.2f} h to train on, "
        f"motion space {corpus.space.name}, {corpus.tokenizer.vocab_size} {corpus.tokenizer.kind} tokens")  # fmt: skip
    for line in loader.plan.describe().splitlines():
        say(f"  {line}")
    shape = ", ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    say(f"devices: {len(jax.devices())} x {jax.devices()[0].device_kind} ({shape})")
    for line in state.clips_not_cut(config, mesh, [frames for frames, _ in loader.plan.shapes]):
        say(line)
    for line in filled:
        say(line)
    say(f"model: stage {config.stage}, attention: {description(config.model)}; parameters:")

    # --- train
    def write():
        if first:
            run_directory.write(workdir, config, corpus.space, corpus.statistics, corpus.tokenizer)

    data = loop.Data(
        loader, lambda: loader.fixed_batches("validation", config.evaluation.batches),
        corpus.statistics.mouth(corpus.space).live, loader.fingerprint(),
    )  # fmt: skip
    inherited, vocoder = origins.read(workdir), None

    def start():
        nonlocal inherited, vocoder
        found = stages.start(config, corpus.space, corpus.tokenizer, corpus.statistics)
        inherited, vocoder = found.origins, found.vocoder
        say("where the parameters start:")
        for line in found.table(config):
            say(f"  {line}")
        return found.params

    def begun():
        write()
        if first:
            origins.write(workdir, inherited)
            if vocoder:
                storage.write(storage.at(workdir) / vocoder.name, storage.read(vocoder))

    def ended():
        write()  # a resumed run may have been given more steps
        if config.checkpoint.export:
            export.export(workdir, config, mesh, say)

    for origin in inherited:
        say(str(origin))
    outcome = loop.run(config, data, mesh, workdir, start, say, begun, ended, times)
    if outcome.interrupted:
        say(f"stopped and saved at step {outcome.step:,}; the same command goes on from there")
    else:
        say(f"done: {outcome.step:,} steps in {workdir}")
    say(events.summary(events.read(workdir)))
    if loader.damaged:
        say(f"{len(loader.damaged)} damaged records were left out; the first: {next(iter(loader.damaged.values()))}")
    return SOME_REJECTED if loader.damaged else CLEAN


def _parser() -> argparse.ArgumentParser:
    parser = Parser("train", __doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="a config file, or the name of one in the package (base)")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where the run lives")
    parser.add_argument("--config.FIELD", metavar="VALUE", dest="_", help="any field of the config (docs/configuration.md)")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
