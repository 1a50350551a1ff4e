"""What the train step and the sampler of a small model consist of: a guard against slowness that needs no clock.

    JAX_DISABLE_MOST_OPTIMIZATIONS=1 python -m benchmarks.programs [--write]

compares with benchmarks/programs.json, exit status 1 beyond the tolerance; --write records it for this version of jax: say in
the commit why it changed. The environment variable is that of the tests.

Of the program as it is traced, loops as often as they run (no compiler is asked):

    work        FLOPs of matrix products and convolutions: nothing is computed twice, nor in a loop that could stand before it
    matmuls     how many of them, exactly: a small one made twice is lost in the FLOPs of the rest
    elements    numbers that all operations give together
    kept        bytes that loops stack up, step by step: above all what the backward pass is given

Of the program compiled for a CPU: FLOPs and bytes by the compiler's estimate (`cost_analysis`: the body of a loop counts once),
temporaries by its plan of memory, and numbers of fusions, products and copies in its text. Another version of jax than those
recorded is held to `work` alone, of the newest one there.
"""
import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from benchmarks.train_step import random_batch
from jamflow_jax.config import build
from jamflow_jax.flow import generate
from jamflow_jax.flow.requests import Request
from jamflow_jax.parallel.mesh import make_mesh, put_batch
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.state import layout
from jamflow_jax.train.step import make_train_step

FILE = Path(__file__).with_suffix(".json")
TOLERANCE = {
    "work": 0.005, "matmuls": 0.0, "elements": 0.05, "kept": 0.05,
    "flops": 0.02, "bytes": 0.05, "temporaries": 0.25, "fusions": 0.1, "products": 0.0, "copies": 0.25,
}  # fmt: skip
TRUNK = {"width": 64, "depth": 4, "heads": 2, "head_dim": 32, "dropout": 0.1}
CONFIG = build(RunConfig, {
    "model": {
        "audio": {**TRUNK, "text_vocab": 20, "text_width": 32, "text_layers": 1},
        "motion": {**TRUNK, "mouth_dim": 1, "rest_dim": 1}, "joint_layers": (0, 1),
    },
})  # fmt: skip
FRAMES = 240


def programs() -> dict[str, Any]:
    """{name: traced program}: the step of a batch with both streams, and a solve."""
    mesh = make_mesh(devices=jax.devices()[:1])
    state, batch = layout(CONFIG, mesh)[0], random_batch(2, FRAMES, CONFIG.model.audio.text_vocab)
    with jax.set_mesh(mesh):
        step = make_train_step(CONFIG, mesh, np.ones(1, bool)).trace(state, put_batch(batch, mesh), ("audio", "motion"))
    return {"train step": step, "sampler": _solve()}


def _solve():
    """The program that `generate` would run, caught on its way."""
    shapes = layout(CONFIG, make_mesh(devices=jax.devices()[:1]))[0].params
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    request, jitted, found = Request(FRAMES, text_ids=np.arange(9)), generate._solve, []

    class Caught(Exception):
        pass

    def catch(*args, **kwargs):
        found.append(jitted.trace(*args, **kwargs))
        raise Caught

    try:
        with mock.patch.object(generate, "_solve", catch):
            generate.generate(CONFIG.model, params, [request], generate.SampleConfig(steps=4))
    except Caught:
        pass
    return found[0]


def count(jaxpr: Any) -> dict[str, int]:
    """What a traced program does; of a branch the most that one of its sides does."""
    total = {"work": 0, "matmuls": 0, "elements": 0, "kept": 0}
    for eqn in jaxpr.eqns:
        parts = [count(part) for part in _inside(eqn.params)]
        name, times = eqn.primitive.name, eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        for kind in total:
            total[kind] += times * (max if name == "cond" else sum)([part[kind] for part in parts] or [0])
        if not parts:
            total["elements"] += sum(math.prod(out.aval.shape) for out in eqn.outvars)
        if name == "scan":
            total["kept"] += sum(out.aval.size * out.aval.dtype.itemsize for out in eqn.outvars[eqn.params["num_carry"]:])
        if name in ("dot_general", "conv_general_dilated"):
            total["work"] += 2 * math.prod(eqn.outvars[0].aval.shape) * _summed(eqn)
            total["matmuls"] += 1
    return total


def _inside(params: dict[str, Any]) -> list[Any]:
    """The jaxprs that an equation runs."""
    values = [part for value in params.values() for part in (value if isinstance(value, (list, tuple)) else [value])]
    return [getattr(value, "jaxpr", value) for value in values if hasattr(getattr(value, "jaxpr", value), "eqns")]


def _summed(eqn: Any) -> int:
    """How many products a number of the result is the sum of."""
    if eqn.primitive.name == "dot_general":
        shape, ((axes, _), _) = eqn.invars[0].aval.shape, eqn.params["dimension_numbers"]
        return math.prod(shape[axis] for axis in axes)
    shape, spec = eqn.invars[1].aval.shape, eqn.params["dimension_numbers"].rhs_spec
    return math.prod(shape) // shape[spec[0]]


def measure(compiled: Any) -> dict[str, int]:
    """Numbers of one program."""
    cost, text = compiled.cost_analysis(), compiled.as_text()
    counted = {"fusions": r"fusion\(", "products": r"(?:dot|convolution|custom-call)\(", "copies": r"copy\("}
    return {
        "flops": int(cost["flops"]), "bytes": int(cost["bytes accessed"]),
        "temporaries": int(compiled.memory_analysis().temp_size_in_bytes),
        **{name: len(re.findall(rf"= (?:\S+|\(.*?\)) {pattern}", text)) for name, pattern in counted.items()},
    }  # fmt: skip


def problems(measured: dict[str, dict[str, int]], recorded: dict[str, Any]) -> list[str]:
    """One line for each number that is off by more than TOLERANCE, in either direction."""
    version = jax.__version__ if jax.__version__ in recorded else max(recorded, key=lambda v: [int(x) for x in v.split(".")])
    found = []
    for name, numbers in measured.items():
        for kind, value in numbers.items():
            expected, allowed = recorded[version][name][kind], TOLERANCE[kind]
            if version != jax.__version__ and kind != "work":
                continue
            if abs(value - expected) > max(allowed * expected, 0.5):
                found.append(f"{name}: {kind} {value:,}, recorded {expected:,} (tolerance {allowed:.1%})")
    return found


def recorded() -> dict[str, Any]:
    """{version of jax: {program: numbers}}."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    write, before = parser.parse_args().write, recorded()
    measured = {name: count(traced.jaxpr.jaxpr) | measure(traced.lower().compile()) for name, traced in programs().items()}
    for name, numbers in measured.items():
        print(f"{name}: " + ", ".join(f"{kind} {value:,}" for kind, value in numbers.items()))
    if write:
        FILE.write_text(json.dumps({**before, jax.__version__: measured}, indent=1, sort_keys=True) + "\n")
        return 0
    found = problems(measured, before)
    print("\n".join(found) or "as recorded")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
