"""Starts a training where it is to run: this machine, a SLURM cluster, a TPU slice or a GKE cluster.

    jamflow launch --launcher local -- --config configs/base.py --workdir runs/mine
    jamflow launch --launcher slurm --nodes 8 --slurm time=24:00:00 -- --config configs/base.py --workdir runs/mine
    jamflow launch --launcher tpu --tpu my-slice --zone us-east5-a -- --config configs/base.py --workdir gs://B/runs/mine
    jamflow launch --launcher gke --topology v5p:4x4x4 --image IMAGE --dry-run -- --config configs/base.py --workdir gs://B/runs/mine

What follows -- are the words of `jamflow train`, checked here before anything starts. --dry-run prints what it would do. The
scripts are in launch/scripts/ and run by themselves too (docs/launch.md); for gke the JobSet goes to kubectl.
"""
import argparse
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.arguments import count, key_value, positive_count
from launch.exits import CLEAN, Parser, one_line_errors

SCRIPTS = Path(__file__).parent / "scripts"
TOOLS = {"local": "bash", "slurm": "sbatch", "tpu": "gcloud", "gke": "kubectl"}
LAUNCHERS = {  # whose an option is
    "nodes": ("slurm", "gke"), "gpus": ("slurm", "gke"), "slurm": ("slurm",),
    "tpu": ("tpu",), "zone": ("tpu",), "project": ("tpu",),
    "name": ("gke",), "image": ("gke",), "topology": ("gke",), "slices": ("gke",), "accelerator": ("gke",),
}  # fmt: skip
SIZES = {"nodes", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "gres"}  # of sbatch: how many GPUs a job has
WHERE = {
    "local": "install it", "slurm": "run this on a login node of the cluster", "tpu": "install the Google Cloud CLI",
    "gke": "install it, and gcloud container clusters get-credentials CLUSTER",
}  # fmt: skip


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    cut = argv.index("--") if "--" in argv else len(argv)
    options, words = _parser().parse_args(argv[:cut]), argv[cut + 1:]
    check_options(options)
    config = check_words(words)
    check_slices(options, config)
    command, environment, standard_input = plan(options, words)
    check_mesh(options, config)
    if options.dry_run:
        if standard_input:
            print(f"# {shlex.join(command)}   reads this", file=sys.stderr)
            print(standard_input, end="")
        else:
            print(" ".join([*(f"{name}={shlex.quote(value)}" for name, value in environment.items()), shlex.join(command)]))
        return CLEAN

    from jamflow_jax.errors import InputError

    tool = TOOLS[options.launcher]
    if not shutil.which(tool):
        raise InputError(f"--launcher {options.launcher}: {tool} is not on the PATH; {WHERE[options.launcher]}, or try --dry-run")
    if not standard_input:
        sys.stdout.flush()
        os.execvpe(command[0], command, {**os.environ, **environment})  # signals and exit code are then the script's own
    return subprocess.run(command, input=standard_input, text=True).returncode


def plan(options: argparse.Namespace, words: Sequence[str]) -> tuple[list[str], dict[str, str], str]:
    """What to call: a command, variables of its environment, and what it reads. Raises ConfigError when an option is missing."""
    from jamflow_jax.errors import ConfigError
    from launch import gke

    script = str(SCRIPTS / f"{options.launcher}.sh")
    restarts = {} if options.restarts is None else {"RESTARTS": str(options.restarts)}
    if options.launcher == "local":
        return ["bash", script, *words], restarts, ""
    if options.launcher == "slurm":
        flags = {"nodes": options.nodes, "gpus-per-node": options.gpus} | dict(pair.split("=", 1) for pair in options.slurm)
        given = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        return ["sbatch", *given, script, *words], restarts, ""
    if options.launcher == "tpu":
        if not options.tpu or not options.zone:
            raise ConfigError("--launcher tpu needs --tpu NAME and --zone ZONE")
        project = {"PROJECT": options.project} if options.project else {}
        return ["bash", script, *words], {"TPU": options.tpu, "ZONE": options.zone, **project, **restarts}, ""
    if not options.image or bool(options.topology) == bool(options.accelerator):
        raise ConfigError("--launcher gke needs --image IMAGE and one of --topology (TPU) and --accelerator (GPU)")
    name = "jamflow" if options.name is None else options.name
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name):
        raise ConfigError(f"--name {name}: Kubernetes wants at most 40 small letters, digits and -")
    times = 100 if options.restarts is None else options.restarts
    if options.topology:
        text = gke.tpu_job(name, options.image, words, options.topology, options.slices or 1, times)
    else:
        text = gke.gpu_job(name, options.image, words, options.accelerator, *gpu_nodes(options), times)
    return ["kubectl", "apply", "-f", "-"], {}, text


def check_options(options: argparse.Namespace) -> None:
    """Raises ConfigError on an option that the launcher would not read, or that is said twice."""
    from jamflow_jax.errors import ConfigError

    for name, launchers in LAUNCHERS.items():
        if getattr(options, name) not in (None, []) and options.launcher not in launchers:
            raise ConfigError(f"--{name}: of {' and '.join(launchers)}, not of --launcher {options.launcher}; leave it away")
    for name, chosen in (("nodes", "topology"), ("gpus", "topology"), ("slices", "accelerator")):
        if getattr(options, name) and getattr(options, chosen):
            raise ConfigError(f"--{name} says nothing beside --{chosen}; leave it away")
    keys = [pair.partition("=")[0] for pair in options.slurm]
    for key, dashed in ((key, key.replace("_", "-")) for key in keys if "_" in key):
        raise ConfigError(f"--slurm {key}=...: sbatch writes it --{dashed}; say --slurm {dashed}=...")
    for name, key in (("nodes", "nodes"), ("gpus", "gpus-per-node")):
        if getattr(options, name) and key in keys:
            raise ConfigError(f"--{name} and --slurm {key}=... are the same option of sbatch: give one of them")


def check_words(words: Sequence[str]):
    """The RunConfig of `jamflow train WORDS`. Raises ConfigError unless that would begin: all of its words are read here."""
    from jamflow_jax import storage
    from jamflow_jax.errors import ConfigError
    from launch import run_config, train

    if not words:
        raise ConfigError("the words of jamflow train are missing: jamflow launch ... -- --config FILE --workdir DIR")
    parser = train._parser()

    def refuse(message: str):
        raise ConfigError(f"jamflow train: {message}")

    parser.error = refuse
    options, overrides = parser.parse_known_args(list(words))
    config = run_config.load(options.config, overrides)
    if not config.data.path:
        raise ConfigError("config.data.path is empty: add --config.data.path=DATA, a data set made by `jamflow prepare`")
    where = storage.address(options.workdir)
    if where and not where.startswith("gs://"):  # gs:// is for the machines that train: this one may know nothing of it
        storage.at(where)
    return config


def check_slices(options: argparse.Namespace, config) -> None:
    """Sets --slices to the config's, where they are not given. Raises ConfigError where the two differ, as training would."""
    from jamflow_jax.errors import ConfigError

    if options.launcher != "gke" or not options.topology:
        return
    options.slices = options.slices or config.mesh.slices
    if options.slices != config.mesh.slices:
        raise ConfigError(f"--slices {options.slices}: the config's mesh.slices is {config.mesh.slices}; add "
                          f"--config.mesh.slices={options.slices}, and mesh.data a multiple of it")  # fmt: skip


def check_mesh(options: argparse.Namespace, config) -> None:
    """Raises ConfigError where the config's mesh does not fit the chips that are asked for, as training would."""
    from jamflow_jax.errors import ConfigError
    from jamflow_jax.parallel import topology
    from jamflow_jax.parallel.mesh import axis_sizes

    mesh = config.mesh
    if options.launcher != "local" and not options.topology and mesh.slices > 1:
        what = "starts one slice" if options.launcher == "tpu" else "has GPUs"
        raise ConfigError(f"config.mesh.slices is {mesh.slices}, but --launcher {options.launcher} {what}: set it to 1, or start "
                          "slices with --launcher gke --topology")  # fmt: skip
    if options.topology:
        chips = topology.parse(options.topology, options.slices).devices
    elif options.launcher == "gke" or (options.launcher == "slurm" and not _sizes_elsewhere(options)):
        chips = math.prod(gpu_nodes(options))
    else:
        return  # those of a machine that is not asked
    axis_sizes(mesh.data, mesh.fsdp, mesh.tensor, mesh.sequence, chips, mesh.slices)


def gpu_nodes(options: argparse.Namespace) -> tuple[int, int]:
    """Nodes, and GPUs of each; slurm.sh has the same defaults."""
    return options.nodes or 1, options.gpus or 8


def _sizes_elsewhere(options: argparse.Namespace) -> bool:
    """Whether sbatch is told the size of the job by other options or variables than --nodes and --gpus."""
    keys = {pair.partition("=")[0] for pair in options.slurm}
    return bool(keys & SIZES) or any(name.startswith(("SBATCH_GPU", "SBATCH_GRES")) for name in os.environ)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("launch", __doc__)
    parser.add_argument("--launcher", required=True, choices=tuple(TOOLS), help="where")
    parser.add_argument("--dry-run", action="store_true", help="print the command (gke: the JobSet's YAML), start nothing")
    parser.add_argument("--restarts", type=count, metavar="N", help="times a training that died is started again (default: local "
                        "0, others 100)")  # fmt: skip
    parser.add_argument("--nodes", type=positive_count, metavar="N", help="slurm, gke with GPUs: machines")
    parser.add_argument("--gpus", type=positive_count, metavar="N", help="slurm, gke: GPUs of a machine (default 8)")
    slurm = parser.add_argument_group("slurm")
    slurm.add_argument("--slurm", action="append", default=[], type=key_value, metavar="KEY=VALUE",
                       help="any option of sbatch without its --: partition=gpu, time=24:00:00; may be repeated")  # fmt: skip
    tpu = parser.add_argument_group("tpu")
    tpu.add_argument("--tpu", metavar="NAME", help="the slice")
    tpu.add_argument("--zone", help="where it is")
    tpu.add_argument("--project", help="whose it is (default: gcloud's)")
    gke = parser.add_argument_group("gke")
    gke.add_argument("--name", help="of the JobSet (default jamflow)")
    gke.add_argument("--image", help="a container image with bash and jamflow in it")
    gke.add_argument("--topology", metavar="CHIP:SHAPE", help="TPU slices: v5e:4x4, v5p:4x4x4, v6e:16x16")
    gke.add_argument("--slices", type=positive_count, metavar="N", help="of that topology (default: the config's mesh.slices)")
    gke.add_argument("--accelerator", metavar="NAME", help="GPU nodes: GKE's label, nvidia-h100-80gb")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
