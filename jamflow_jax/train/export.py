"""The best of a run as a model of its own: DIR/best, with the averaged parameters and nothing of the optimiser.

It is the directory of a run like any other: `--model DIR/best` samples from it, converts it and starts from it. All processes take
part, each with what lies on its devices.
"""
from collections.abc import Callable
from pathlib import Path

import jax
from jax.sharding import Mesh

from jamflow_jax import storage
from jamflow_jax.config import to_dict
from jamflow_jax.parallel import processes
from jamflow_jax.train import bundle, checkpoint, origins
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.state import layout

FOLDER = "best"
COPIED = ("config.json", "dataset.json", "vocab.txt", "statistics.json", origins.FILE, bundle.VOCODER)


def export(workdir: str | Path, config: RunConfig, mesh: Mesh, say: Callable[[str], None] = print) -> None:
    """Writes DIR/best from the checkpoint with the lowest held-out loss (else the newest), of those that are whole.

    Raises:
      InputError: it cannot be read or written, or there are checkpoints and none is whole.
    """
    workdir = storage.absolute(workdir)
    place, checkpoints = workdir / FOLDER, checkpoint.Checkpoints(workdir / "checkpoints", config.checkpoint)
    shapes, places = layout(config, mesh)
    abstract = jax.tree.map(lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes, places)
    found = checkpoints.best({"params": abstract.params, "averages": abstract.ema}, say)
    if found is None:
        return
    arrays, record = found
    step = record["step"]
    if jax.process_index() == 0:
        storage.remove(place)
        storage.make(place)
        for name in COPIED:
            if storage.exists(workdir / name):
                storage.write(place / name, storage.read(workdir / name))
    processes.meet()
    kept = {"config": to_dict(config), "fingerprint": "", "pending": []}
    checkpoint.save_parameters(place / "checkpoints", step, {**arrays["params"], **arrays["averages"]}, kept)
    held_out = record.get("held_out", {})
    losses = "  ".join(f"{name} {value:.4f}" for name, value in held_out.items())
    say(f"best: step {step:,}{f' (held out: {losses})' if losses else ''}, its averages are the model {place}")
