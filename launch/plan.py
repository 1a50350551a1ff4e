"""Says what a run would need on machines that are not there: does it fit, how long is a step, what is sent where.

    jamflow plan --config configs/base.py --topology v5e:4x4        also v5p:4x4x4, v6e:16x16, h200x8; --slices 2

For a TPU the real train step is compiled, on this machine, by the TPU's own compiler (libtpu: pip install 'jamflow-jax[plan]').
GPU topologies are by formula alone, and say so. --slices N stands for --config.mesh.slices=N and, where mesh.data is 1, for
--config.mesh.data=N. Without a data set the batch is one bucket of clips of --seconds. Variants of clips a step, microbatches and
remat are ranked by formula; the best is compiled, and the next while the compiler refuses.
"""
import argparse
import dataclasses
import json
import math
import os
import sys

from launch.arguments import positive, positive_count
from launch.exits import CLEAN, NOTHING_USABLE, Parser, one_line_errors

GIB = 2**30
DOUBT = 1.05  # a formula's bytes may be so much too few
REFUSED = 3  # variants at most that are compiled by default
SECONDS = 10  # of a clip, without a data set


@one_line_errors
def main(argv: list[str]) -> int:
    options, overrides = _parser().parse_known_args(argv)

    from jamflow_jax.parallel import topology  # imports jax, which reads the environment when it first looks for devices

    os.environ.update(topology.ENVIRONMENT)
    from launch.outputs.staging import check_file, write_text

    if options.json is not None:
        check_file(options.json, "--json")
    config = configured(options, overrides)
    place = topology.parse(options.topology, config.mesh.slices)
    found = plan(config, place, options.seconds or SECONDS, options.tries, _say)
    if options.json:
        write_text(options.json, json.dumps({"config": options.config, **found}, indent=1) + "\n")
    return CLEAN if found["fits"] else NOTHING_USABLE


def configured(options: argparse.Namespace, overrides: list[str]):
    """The RunConfig to plan, with the --slices. Raises ConfigError where an option and the config say different things."""
    from jamflow_jax.errors import ConfigError
    from launch import run_config

    config, slices = run_config.load(options.config, overrides), options.slices
    if options.seconds and config.data.path:
        raise ConfigError(f"--seconds {options.seconds:g}: clips are those of {config.data.path}; leave --seconds away, or the "
                          "data set (--config.data.path=)")  # fmt: skip
    if slices and config.mesh.slices not in (1, slices):
        raise ConfigError(f"--slices {slices}: the config's mesh.slices is {config.mesh.slices}; leave --slices away, or set "
                          f"--config.mesh.slices={slices}")  # fmt: skip
    if not slices:
        return config
    data = slices if config.mesh.data == 1 else config.mesh.data  # they lie along it
    return dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, slices=slices, data=data))


def plan(config, place, seconds: float, tries: int | None, say) -> dict:
    """Plans `config` on the topology `place` and the best variants of it; says and returns the best that fits.

    All variants are ranked by formula, corrected by the compiled programs there are; the best is compiled, and so on: `tries` in
    all, the run as configured first. None: until one fits, for a compilation takes minutes; by formula the run and the best.
    """
    from jamflow_jax.parallel.mesh import batch_shards
    from jamflow_jax.train import ahead, variants
    from jamflow_jax.train.state import clips_not_cut, not_cut

    say(f"{place.name}{f' x {place.slices} slices' if place.slices > 1 else ''}: {place.devices} x {place.chip.name}, "
        f"{place.chip.memory / GIB:.0f} GiB and {place.chip.flops / 1e12:.0f} TFLOP/s each"
        f"{'' if place.is_tpu else '; BY FORMULA: nothing is compiled for GPUs here'}")  # fmt: skip
    mesh = _mesh(config, place)
    frames, examples = _batch(config, seconds, batch_shards(mesh) * config.optim.accumulate)
    for line in (*not_cut(config, mesh), *clips_not_cut(config, mesh, [frames])):
        say(line)
    own, tried = variants.configured(config, examples), {}
    parameters = ahead.parameters(ahead.abstract_state(config, mesh))
    near = {own, *variants.around(examples, batch_shards(mesh))}
    known = {own: _one(config, place, mesh, examples, frames, compiled=False)}  # by formula, until there is something better

    def rank():
        found = [_estimate(config, place, mesh, parameters, variant, frames, tried, tried or known) for variant in {*near, *tried}]
        return variants.ranked(found, place.chip.memory, examples)

    chosen, most, search = own, tries or (REFUSED if place.is_tpu else 2), place.is_tpu and tries is None
    if search and (order := rank()):
        chosen = order[0].variant
        held, times = known[own]["bytes"]["total"] / GIB, order[0].speed / _rate(known[own])
        say(f"by formula, of {len(near)} variants: as configured ({_words(own)}) {held:.1f} GiB; "
            f"the best ({_words(chosen)}) {order[0].bytes / GIB:.1f} GiB, {times:.2f} times the frames a second")  # fmt: skip
    while True:
        if place.is_tpu:
            say(f"compiling: {_words(chosen)} (minutes)")
        tried[chosen] = row = _one(chosen.of(config), place, mesh, chosen.examples, frames, compiled=place.is_tpu)
        took = f", compiled in {row['compile_seconds']:.0f} s" if place.is_tpu else ""
        say(f"tried {_words(chosen)}: {row['bytes']['total'] / GIB:.1f} GiB, {'fits' if row['fits'] else 'does NOT fit'}, "
            f"{row['seconds']['fastest']:.3f} to {row['seconds']['slowest']:.3f} s a step{took}")  # fmt: skip
        order = rank()
        if len(tried) >= most or (search and row["fits"]) or not order or order[0].variant in tried:
            break
        chosen = order[0].variant
    fitting = [e.variant for e in order if e.variant in tried and tried[e.variant]["fits"]]
    best = fitting[0] if fitting else min(tried, key=lambda variant: tried[variant]["bytes"]["total"])
    for line in report(tried[best], place, "as configured" if {*tried} == {own} else "best"):
        say(line)
    better = order[0] if order and order[0].variant not in tried else None
    if better:
        times, more = better.speed / _rate(tried[best]), len({*tried, own}) + 1
        say(f"not tried, by formula better: {_words(better.variant)}: {better.bytes / GIB:.1f} GiB, "
            f"{times:.2f} times the frames a second; --tries {more} tries it")  # fmt: skip
    slices = f" --config.mesh.slices={place.slices} --config.mesh.data={mesh.shape['data']}" if place.slices > 1 else ""
    say(f"as flags: {best.flags(frames)}{slices}")
    short = [{**dataclasses.asdict(v), "fits": row["fits"], "bytes": row["bytes"]["total"]} for v, row in tried.items()]
    return {**tried[best], "tried": short, "better_by_formula": better and dataclasses.asdict(better)}


def _rate(row: dict) -> float:
    """Mel frames a second, if nothing overlaps."""
    return row["examples"] * row["frames"] / row["seconds"]["slowest"]


def _words(variant) -> str:
    return f"{variant.examples:,} clips, remat {variant.remat}, accumulate {variant.accumulate}"


def _mesh(config, place):
    """The run's mesh over the place's devices, abstract where they are GPUs."""
    from jax.sharding import AbstractMesh, AxisType

    from jamflow_jax.parallel import topology
    from jamflow_jax.parallel.mesh import AXES, axis_sizes, make_mesh

    sizes = dataclasses.asdict(config.mesh)
    if place.is_tpu:
        return make_mesh(**sizes, devices=topology.describe(place))
    shape = axis_sizes(config.mesh.data, config.mesh.fsdp, config.mesh.tensor, config.mesh.sequence, place.devices)
    return AbstractMesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _one(config, place, mesh, examples: int, frames: int, compiled: bool) -> dict:
    """One variant as plain numbers, by formula or of the compiled program."""
    from jamflow_jax.parallel.collectives import collectives
    from jamflow_jax.train import ahead, flops, roofline
    from jamflow_jax.train.state import streams

    state, batch = ahead.abstract_state(config, mesh), ahead.abstract_batch(config, examples, frames, mesh)
    parameters = ahead.parameters(state)
    about = config, dict(mesh.shape), examples, frames, parameters
    traffic, took, compiles = roofline.collectives_by_formula(*about), None, True
    if compiled:
        program = ahead.compile_step(config, mesh, examples, frames)
        kinds, took = {**program.arguments, "temporary": program.temporary, "program": program.code}, program.seconds
        compiles = program.text != ""  # the compiler keeps some of the memory to itself: it may refuse what the chip could hold
        traffic = collectives(program.text) if compiles else traffic
    else:
        kinds = {**ahead.arguments(state, batch), "temporary": roofline.temporaries_by_formula(*about)}
    kinds["total"] = sum(kinds.values())
    times = roofline.roofline(config, place.chip, dict(mesh.shape), examples, frames, parameters, traffic)
    work = flops.step_flops(config, [frames] * examples, streams(config))
    share = {bound: flops.mfu_of(work, getattr(times, bound), place.devices, place.chip) for bound in ("fastest", "slowest")}
    return {
        "topology": place.name, "slices": place.slices, "devices": place.devices, "by_formula": not compiled,
        "mesh": dict(mesh.shape), "remat": config.model.motion.remat, "accumulate": config.optim.accumulate,
        "parameters": parameters.all, "frames": frames, "examples": examples, "bytes": kinds,
        "fits": compiles and kinds["total"] <= place.chip.memory, "flops": work,
        "collectives": [dataclasses.asdict(c) for c in traffic],
        "seconds": {**dataclasses.asdict(times), "fastest": times.fastest, "slowest": times.slowest}, "mfu": share,
        "compile_seconds": took,
    }  # fmt: skip


def _estimate(config, place, mesh, parameters, variant, frames: int, tried: dict, known: dict):
    """A variant by formula, its bytes in the measure of those `known`: of the same remat, else of the last one."""
    from jamflow_jax.train import roofline, variants

    config, shape = variant.of(config), dict(mesh.shape)
    times = roofline.roofline(
        config, place.chip, shape, variant.examples, frames, parameters,
        roofline.collectives_by_formula(config, shape, variant.examples, frames, parameters))
    speed = variant.examples * frames / times.slowest
    if variant in tried:
        return variants.Estimate(variant, tried[variant]["bytes"]["total"] if tried[variant]["fits"] else math.inf, speed)

    def formula(config, examples):
        return roofline.temporaries_by_formula(config, shape, examples, frames, parameters)

    like, row = next(((v, row) for v, row in reversed(known.items()) if v.remat == variant.remat), list(known.items())[-1])
    measure = row["bytes"]["temporary"] / formula(like.of(config), like.examples)
    held = row["bytes"]["total"] - row["bytes"]["temporary"] + row["bytes"]["batch"] * (variant.examples / like.examples - 1)
    return variants.Estimate(variant, DOUBT * (held + measure * formula(config, variant.examples)), speed)


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


def report(row: dict, place, which: str) -> list[str]:
    """A variant in lines; `which` it is."""
    bytes_, times = row["bytes"], row["seconds"]
    shape = ", ".join(f"{axis} {size}" for axis, size in row["mesh"].items())
    lines = [
        f"{which}: {row['examples']:,} clips, remat {row['remat']}, accumulate {row['accumulate']}: "
        f"{'FITS' if row['fits'] else 'DOES NOT FIT'}",
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
    parser.add_argument("--slices", type=positive_count, metavar="N",
                        help="TPU slices joined by the data-centre network (default: the config's mesh.slices)")  # fmt: skip
    parser.add_argument("--seconds", type=positive, metavar="S", help=f"length of a clip, without a data set ({SECONDS})")
    parser.add_argument("--tries", type=positive_count, metavar="N",
                        help="variants in all, the run as configured first; 1: it alone (default: the best by formula that fits)")
    parser.add_argument("--json", metavar="FILE", help="the numbers, for a program to read")
    parser.add_argument("--config.FIELD", metavar="VALUE", dest="_", help="any field of the config (docs/configuration.md)")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
