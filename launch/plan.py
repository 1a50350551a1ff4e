"""Says what a run would need on machines that are not there: does it fit, how long is a step, what is sent where.

    jamflow plan --config configs/base.py --topology v5e:4x4        also v5p:4x4x4, v6e:16x16, h200x8; --slices 2

For a TPU the real train step is compiled, on this machine, by the TPU's own compiler (libtpu: pip install 'jamflow-jax[plan]').
GPU topologies are by formula alone, and say so. Without a data set the batch is one bucket of clips of --seconds. --tries 3 looks
for a better remat or accumulation as well, a compilation each.
"""
import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from launch.exits import CLEAN, NOTHING_USABLE, Parser, one_line_errors

ORDER = ("none", "dots", "attention", "full")  # remat, from most memory to least
GIB = 2**30


@one_line_errors
def main(argv: list[str]) -> int:
    options, overrides = _parser().parse_known_args(argv)

    from jamflow_jax.parallel import topology  # imports jax, which reads the environment when it first looks for devices

    os.environ.update(topology.ENVIRONMENT)
    from launch import run_config

    place = topology.parse(options.topology, options.slices)
    config = run_config.load(options.config, [*overrides, f"--config.mesh.slices={options.slices}"])
    tries = options.tries or (1 if place.is_tpu else 3)
    found = plan(config, place, options.seconds, tries, _say)
    if options.json:
        Path(options.json).write_text(json.dumps({"config": options.config, **found}, indent=1) + "\n", encoding="utf-8")
    return CLEAN if found["fits"] else NOTHING_USABLE


def plan(config, place, seconds: float, tries: int, say) -> dict:
    """Plans `config` on the topology `place`, and variants of it until `tries` have been tried; says and returns the best.

    Lighter remat is tried where the run as configured fits, more microbatches and heavier remat where it does not.
    """
    say(f"{place.name}{f' x {place.slices} slices' if place.slices > 1 else ''}: {place.devices} x {place.chip.name}, "
        f"{place.chip.memory / GIB:.0f} GiB and {place.chip.flops / 1e12:.0f} TFLOP/s each"
        f"{'' if place.is_tpu else '; BY FORMULA: nothing is compiled for GPUs here'}")  # fmt: skip
    tried = []
    for _ in range(max(1, tries)):
        if place.is_tpu:
            say(f"compiling for remat {config.model.motion.remat}, accumulate {config.optim.accumulate} (minutes, one core)")
        tried.append(_one(config, place, seconds))
        row = tried[-1]
        took = f", compiled in {row['compile_seconds']:.0f} s" if place.is_tpu else ""
        say(f"tried remat {row['remat']}, accumulate {row['accumulate']}: {row['bytes']['total'] / GIB:.1f} GiB, "
            f"{'fits' if row['fits'] else 'does NOT fit'}, at best {row['seconds']['fastest']:.3f} s a step{took}")  # fmt: skip
        config = _next(config, tried)
        if config is None:
            break
    fitting = [row for row in tried if row["fits"]]
    best = min(fitting, key=lambda row: row["seconds"]["fastest"]) if fitting else min(tried, key=lambda row: row["bytes"]["total"])
    for line in report(best, place):
        say(line)
    return {**best, "tried": [{name: row[name] for name in ("remat", "accumulate", "fits")} for row in tried]}


def _one(config, place, seconds: float) -> dict:
    """One variant as plain numbers."""
    import jax
    from jax.sharding import AbstractMesh, AxisType

    from jamflow_jax.parallel import topology
    from jamflow_jax.parallel.collectives import collectives
    from jamflow_jax.parallel.mesh import AXES, axis_sizes, batch_shards, make_mesh
    from jamflow_jax.train import ahead, flops, roofline
    from jamflow_jax.train.state import streams

    sizes = dataclasses.asdict(config.mesh)
    if place.is_tpu:
        mesh = make_mesh(**sizes, devices=topology.describe(place))
    else:
        shape = axis_sizes(config.mesh.data, config.mesh.fsdp, config.mesh.tensor, config.mesh.sequence, place.devices)
        mesh = AbstractMesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES))
    frames, examples = _batch(config, seconds, batch_shards(mesh) * config.optim.accumulate)
    state, batch = ahead.abstract_state(config, mesh), ahead.abstract_batch(config, examples, frames, mesh)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    about = config, dict(mesh.shape), examples, frames, parameters
    if place.is_tpu:
        program = ahead.compile_step(config, mesh, examples, frames)
        kinds = {**program.arguments, "temporary": program.temporary, "program": program.code}
        traffic, took = collectives(program.text), program.seconds
    else:
        kinds = {**ahead.arguments(state, batch), "temporary": roofline.temporaries_by_formula(*about)}
        traffic, took = roofline.collectives_by_formula(*about), None
    kinds["total"] = sum(kinds.values())
    times = roofline.roofline(config, place.chip, dict(mesh.shape), examples, frames, parameters, traffic)
    work = flops.step_flops(config, [frames] * examples, streams(config))
    share = {bound: flops.mfu_of(work, getattr(times, bound), place.devices, place.chip) for bound in ("fastest", "slowest")}
    return {
        "topology": place.name, "slices": place.slices, "devices": place.devices, "by_formula": not place.is_tpu,
        "mesh": dict(mesh.shape), "remat": config.model.motion.remat, "accumulate": config.optim.accumulate,
        "parameters": parameters, "frames": frames, "examples": examples, "bytes": kinds,
        "fits": kinds["total"] <= place.chip.memory, "flops": work, "collectives": [dataclasses.asdict(c) for c in traffic],
        "seconds": {**dataclasses.asdict(times), "fastest": times.fastest, "slowest": times.slowest}, "mfu": share,
        "compile_seconds": took,
    }  # fmt: skip


def _batch(config, seconds: float, multiple: int) -> tuple[int, int]:
    """(mel frames, examples): of the data set's largest bucket, or of clips of `seconds`."""
    from data_pipelines.plan import batch_size
    from jamflow_jax.timeline import mel_frames_of_seconds

    if config.data.path:
        from data_pipelines.loader import open_loader

        shapes = open_loader(config.data, config.seed, multiple=multiple).plan.shapes
        return max(shapes, key=lambda shape: shape[0] * shape[1])
    grid = config.data.align * config.mesh.sequence
    frames = -(-mel_frames_of_seconds(seconds) // grid) * grid
    return frames, batch_size(frames, config.data.batch_frames, config.data.max_batch, multiple)


def _next(config, tried: list[dict]):
    """The variant to try after these; None: enough is known."""
    last, seen = tried[-1], {(row["remat"], row["accumulate"]) for row in tried}
    remat, accumulate = last["remat"], last["accumulate"]
    if last["fits"]:
        if remat == ORDER[0] or any(not row["fits"] for row in tried):
            return None
        remat = ORDER[ORDER.index(remat) - 1]
    elif any(row["fits"] for row in tried):
        return None
    elif remat != "full":
        remat = "full"
    elif last["examples"] % (2 * accumulate * last["mesh"]["data"] * last["mesh"]["fsdp"]) == 0:
        accumulate *= 2
    else:
        return None
    if (remat, accumulate) in seen:
        return None
    both = {stream: dataclasses.replace(getattr(config.model, stream), remat=remat) for stream in ("audio", "motion")}
    model, optim = dataclasses.replace(config.model, **both), dataclasses.replace(config.optim, accumulate=accumulate)
    return dataclasses.replace(config, model=model, optim=optim)


def report(row: dict, place) -> list[str]:
    """The best variant in lines."""
    bytes_, times = row["bytes"], row["seconds"]
    shape = ", ".join(f"{axis} {size}" for axis, size in row["mesh"].items())
    lines = [
        f"best: remat {row['remat']}, accumulate {row['accumulate']}: {'FITS' if row['fits'] else 'DOES NOT FIT'}",
        f"  mesh           {shape}",
        f"  batch          {row['examples']:,} clips x {row['frames']:,} mel frames, "
        f"{row['examples'] * row['frames'] / row['devices']:,.0f} frames a device",
        f"  parameters     {row['parameters']:,}",
        f"  a device holds {bytes_['total'] / GIB:.2f} of {place.chip.memory / GIB:.0f} GiB: "
        + ", ".join(f"{name} {size / GIB:.2f}" for name, size in bytes_.items() if name != "total"),
        f"  model FLOPs    {row['flops']:.3e} a step",
        f"  collectives    of a step, bytes of whole arrays, {'by formula' if row['by_formula'] else 'in the compiled program'}",
    ]
    for c in row["collectives"]:
        lines.append(f"    {c['kind']:<18} over {c['group']:>5}  {c['count']:>6} x  {c['bytes'] / GIB:9.3f} GiB")
    return [
        *lines,
        "  seconds if it alone limits: " + ", ".join(f"{n} {times[n]:.3f}" for n in ("compute", "memory", "links", "network")),
        f"  step           {times['fastest']:.3f} s if all overlap (MFU {row['mfu']['fastest']:.0%}), "
        f"{times['slowest']:.3f} s if nothing does (MFU {row['mfu']['slowest']:.0%})",
        "  assumed: dense bf16 peak, published bandwidths, all links of the torus busy; logits go to memory (docs/scale.md)",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = Parser("plan", __doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="a config file, or the name of one in the package (base)")
    parser.add_argument("--topology", required=True, metavar="NAME", help="v5e:4x4, v5p:4x4x4, v6e:16x16, h200x8, ...")
    parser.add_argument("--slices", type=int, default=1, metavar="N", help="TPU slices joined by the data-centre network (1)")
    parser.add_argument("--seconds", type=float, default=10, metavar="S", help="length of a clip, without a data set (10)")
    parser.add_argument("--tries", type=int, metavar="N",
                        help="variants of remat and accumulation, at most (1 for a TPU, where each is a compilation; 3 by formula)")
    parser.add_argument("--json", metavar="FILE", help="the numbers, for a program to read")
    parser.add_argument("--config.FIELD", metavar="VALUE", dest="_", help="any field of the config (docs/configuration.md)")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
