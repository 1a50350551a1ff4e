"""How much a model's speech stream knows from the lips: held-out audio loss with the true lips minus that with another clip's.

    python -m benchmarks.hears_lips RUN [RUN ...] [--split validation] [--batches 8] [--text]

Every example is speech hidden and motion given, nothing else dropped but the text (kept with --text) and the rest of the face.
Times, spans and noise are the same for both. Zero: the lips are not heard. Sampling shows it later than this loss does. Prints
Markdown: mean over batches and its standard error. A run's data set must be where its config says.
"""
import argparse
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.loader import open_loader
from jamflow_jax.flow import objective
from jamflow_jax.model import JamFlow
from jamflow_jax.train.bundle import Model, load_model

SEED, STEP = 7, 3  # of the draws: the same for every run
NOTHING_DROPPED = {"drop_all": 0.0, "drop_audio": 0.0, "drop_motion": 0.0, "drop_rest": 1.0, "text_absent_share": 1.0}


def losses(model: Model, split: str, batches: int, text: bool) -> np.ndarray:
    """Audio losses [batches, 2]: with the true lips, with those of the batch's next clip."""
    config = dataclasses.replace(
        model.config.objective, hide_probs=(0.0, 0.0, 1.0), drop_text=0.0 if text else 1.0, **NOTHING_DROPPED)
    apply = JamFlow(model.config.model).apply

    @jax.jit
    def both(params, batch):
        drawn = objective.draw(config, objective.example_keys(SEED, STEP, batch["example_id"]), batch)
        count = objective.counts(drawn, batch)["audio"]
        lips = batch["mouth"], jnp.roll(batch["mouth"], 1, 0)
        return jnp.stack([objective.loss_sums(apply, params, drawn, batch | {"mouth": mouth})["audio"] / count for mouth in lips])

    loader = open_loader(model.config.data, SEED, space=model.space)
    return np.array([both(model.params, batch) for batch in loader.fixed_batches(split, batches)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--text", action="store_true")
    options = parser.parse_args()
    print("| run | step | true lips | another clip's | difference |\n|---|---|---|---|---|")
    for run in options.runs:
        model = load_model(run)
        found = losses(model, options.split, options.batches, options.text)
        apart = found[:, 0] - found[:, 1]
        (true, other), error = found.mean(0), apart.std(ddof=1) / len(apart) ** 0.5
        print(f"| {run} | {model.step:,} | {true:.4f} | {other:.4f} | {apart.mean():.4f} ± {error:.4f} |", flush=True)


if __name__ == "__main__":
    main()
