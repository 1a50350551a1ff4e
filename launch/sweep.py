"""Runs the rows of a sweep with every seed, measures them and writes one table: configs/sweeps/ has one question a file.

    jamflow sweep joint_layers --dry-run            the runs and their commands; everything is checked, nothing starts
    jamflow sweep joint_layers --smallest           its smallest form: fewer seeds, rows and steps
    jamflow sweep joint_layers --seeds 0,1 --row none   a part of it: these seeds, this row and what it is compared with
    jamflow sweep joint_layers --parallel 2         all of it here; the same command again goes on where it was
    jamflow sweep joint_layers --launcher slurm --parallel 8 --slurm partition=gpu --slurm time=240 --slurm gpus_per_node=1
    jamflow sweep status joint_layers               what became of every run; writes the table of what is there

DIR holds runs/, logs/, status/, and results/NAME.csv, NAME-runs.csv, NAME.md, NAME.html. A run that fails stops no other: exit
code 3.
"""
import argparse
import shlex
import sys
from pathlib import Path

from launch.arguments import key_value, positive_count
from launch.exits import CLEAN, NOTHING_USABLE, SOME_REJECTED, Parser, one_line_errors

INTERRUPTED = 130


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.file[:-1] not in ([], ["status"]):
        parser.error(f"expected FILE or status FILE, got {' '.join(options.file)}")

    _check(parser, options)

    from jamflow_jax import storage
    from launch.outputs.staging import check_writable
    from launch.sweeps import local, slurm, states
    from launch.sweeps import plan as plans

    sweep = plans.read(options.file[-1])
    if options.smallest:
        sweep = plans.smallest(sweep)
    sweep = plans.part(sweep, options.row, options.seeds)
    runs = plans.plan(sweep)
    folder = storage.here(options.out or ("runs/sweeps-smallest" if options.smallest else "runs/sweeps"))
    parallel = options.parallel or 1
    words = ["jamflow", "sweep", options.file[-1], *["--smallest"] * options.smallest]
    words += ["--out", options.out] if options.out else []
    words += ["--seeds", ",".join(map(str, options.seeds))] if options.seeds else []
    again = shlex.join([*words, *(word for name in options.row for word in ("--row", name))])
    if options.file[:-1]:
        _check_begun(folder, again)
        return _status(sweep, runs, folder, again)

    count = sum(len(run.rows) for run in runs)
    print(f"{sweep.name}: {sweep.question}")
    print(f"  {len(sweep.named_rows())} rows x {len(sweep.seeds)} seeds = {count} results of {len(runs)} trainings, in {folder}")
    parameters = dict(word.partition("=")[::2] for word in options.slurm)
    check_writable(folder)
    if options.launcher == "slurm":
        slurm.check(parallel, parameters)
    if options.dry_run:
        if options.launcher == "slurm":
            print(", ".join([f"  one array of {len(runs)} SLURM jobs, {parallel} at a time", *options.slurm]))
        _list(sweep, runs, folder)
        return CLEAN
    states.check_same(folder, runs)
    statuses = states.settled(folder, runs)
    busy = [run for run in runs if statuses[run.name].with_slurm]
    left = [run for run in runs if run not in busy and not states.complete(run, statuses[run.name])]
    if kept := len(runs) - len(left) - len(busy):
        print(f"  {kept} finished earlier, kept")
    _data(sweep)

    if options.launcher == "slurm":
        if left:
            jobs = slurm.submit(left, folder, parallel, parameters)
            print(f"submitted {len(left)} runs as jobs {jobs[0].job_id} to {jobs[-1].job_id}, {parallel} at a time; "
                  f"{len(busy)} are there already")  # fmt: skip
        print(f"jamflow sweep status {options.file[-1]} looks at them")
        return CLEAN
    if busy:
        print(f"  {len(busy)} are with SLURM and left to it")
    stopped = False
    if left:
        order = {run.name: f"[{n}/{len(left)}]" for n, run in enumerate(left, 1)}
        devices = options.gpus or ()
        stopped = local.run_all(
            left, folder, len(devices) or parallel, devices,
            lambda run: print(f"{order[run.name]} {run.name}: begins; {folder / 'logs' / run.name}.log", flush=True),
            lambda run, found: print(f"{order[run.name]} {run.name}: {_outcome(found)}", flush=True),
        )  # fmt: skip
    code = _status(sweep, runs, folder, again, brief=True)
    return INTERRUPTED if stopped else code


def _check(parser: Parser, options: argparse.Namespace) -> None:
    """Ends the command on an option that would not be read."""
    given = {f"--{name.replace('_', '-')}": getattr(options, name) for name in ("launcher", "parallel", "gpus", "slurm", "dry_run")}
    if options.file[:-1] and (unread := next((name for name, value in given.items() if value), None)):
        parser.error(f"{unread}: status starts nothing; leave it away")
    if options.slurm and options.launcher != "slurm":
        parser.error("--slurm: of --launcher slurm; add that, or leave it away")
    if options.gpus and (options.launcher == "slurm" or options.parallel):
        parser.error("--gpus: of --launcher local, one run on each of them; leave it away, or "
                     + ("ask with --slurm gpus_per_node=1" if options.launcher == "slurm" else "--parallel"))  # fmt: skip
    if options.out == "":
        parser.error("--out is empty; name a folder, or leave it away")


def _check_begun(folder: Path, again: str) -> None:
    """Raises InputError when no sweep has ever begun in `folder`."""
    from jamflow_jax.errors import InputError

    if (folder / "status").is_dir():
        return
    beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
    others = sorted(str(path) for path in beside if (path / "status").is_dir())
    there = f"there is one in {', '.join(others[:5])}: name it with --out, or" if others else "name the --out it was given, or"
    raise InputError(f"{folder}: no sweep has begun there; {there} begin one with {again}")


def _status(sweep, runs, folder: Path, again: str, brief: bool = False) -> int:
    """Prints the states and the table, writes the results; the exit code they deserve."""
    from launch.outputs.staging import write_text
    from launch.sweeps import results, states
    from launch.sweeps.page import page

    statuses = states.settled(folder, runs)
    for run in runs:  # finished for another sweep, which measured other rows
        if statuses[run.name].state == states.FINISHED and not states.complete(run, statuses[run.name]):
            statuses[run.name] = states.Status(config=run.digest)
    if not brief:
        for run in runs:
            print(f"  {run.name}: {_outcome(statuses[run.name])}")
    cells = results.collect(sweep, runs, statuses, folder)
    lines = results.table(sweep, cells)
    print(results.table_text(sweep, lines))
    for key in results.missing(sweep, cells):
        print(f"  no run has the figure {key!r}: is it spelt as in the evaluation's JSON? {sweep.name}-runs.csv has all there are")
    out = folder / "results"
    write_text(out / f"{sweep.name}.csv", results.table_csv(sweep, lines))
    write_text(out / f"{sweep.name}-runs.csv", results.runs_csv(cells))
    write_text(out / f"{sweep.name}.md", results.table_markdown(sweep, lines) + f"\n```\n{again}\n```\n")
    write_text(out / f"{sweep.name}.html", page(sweep, cells, lines, folder, again))
    print(f"  {out / sweep.name}{{.csv,-runs.csv,.md,.html}}")
    failed = [run for run in runs if statuses[run.name].state == states.FAILED]
    for run in failed:
        print(f"failed: {run.name}: {statuses[run.name].said} ({folder / 'logs' / run.name}.log)", file=sys.stderr)
    if len(failed) == len(runs):
        return NOTHING_USABLE
    return SOME_REJECTED if failed else CLEAN


def _list(sweep, runs, folder: Path) -> None:
    """Prints what every run executes, as lines for a shell; and what makes the data that is missing."""
    from launch.sweeps.execute import commands

    for needed in _missing(sweep):
        what = f"{needed.path!r}, minutes={needed.minutes!r}, overwrite=True"
        code = f"from data_pipelines.prepare.synthetic import prepare_synthetic; prepare_synthetic({what})"
        print(f"{needed.path} is missing and made first\n    {shlex.join([sys.executable, '-c', code])}")
    for run in runs:
        train, *evaluations = commands(folder, run)
        print(f"{run.name}\n    {shlex.join(['jamflow', *train])}")
        for evaluation, words in zip(run.evaluations, evaluations):
            print(f"  measured for row {evaluation.row!r}\n    {shlex.join(['jamflow', *words])}")


def _missing(sweep) -> list:
    return [needed for needed in sweep.synthetic if not (Path(needed.path) / "dataset.json").exists()]


def _data(sweep) -> None:
    """Makes the embedded data sets that are missing."""
    from data_pipelines.prepare.synthetic import prepare_synthetic

    for needed in _missing(sweep):
        print(f"  preparing {needed.path}: {needed.minutes:g} minutes of the embedded corpus", flush=True)
        prepare_synthetic(needed.path, minutes=needed.minutes, overwrite=True)


def _outcome(found) -> str:
    about = {"failed": f" with exit code {found.code}: {found.said}", "submitted": f", {found.job}", "running": f", {found.job}"}
    spent = f", {found.seconds:.0f} s" if found.seconds else ""
    return f"{found.state}{about.get(found.state, '')}{spent}"


def _parser() -> Parser:
    parser = Parser("sweep", __doc__)
    parser.add_argument("file", nargs="+", metavar="[status] FILE", help="a sweep file, or the name of one in configs/sweeps")
    parser.add_argument("--launcher", choices=("local", "slurm"), help="where the runs go (default local)")
    parser.add_argument("--seeds", type=_seeds, default=(), metavar="LIST", help="some of the sweep's, as in 0,1 (default: all)")
    parser.add_argument("--row", action="append", default=[], metavar="NAME", help="one of the sweep's; may be repeated")
    parser.add_argument("--parallel", type=positive_count, metavar="N", help="runs at a time (default 1)")
    parser.add_argument("--gpus", type=_gpus, metavar="LIST", help="local: one run on each of these at a time, as in 0,1,2,3")
    parser.add_argument("--slurm", action="append", default=[], type=key_value, metavar="KEY=VALUE",
                        help="of sbatch: partition, time (minutes), gpus_per_node, account, ...; may be repeated")  # fmt: skip
    parser.add_argument("--smallest", action="store_true", help="the sweep's smallest form")
    parser.add_argument("--out", metavar="DIR", help="default: runs/sweeps (--smallest: runs/sweeps-smallest)")
    parser.add_argument("--dry-run", action="store_true", help="check everything and print the commands of every run")
    return parser


def _gpus(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}; expected the numbers of GPUs, as in 0,1")
    return names


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected whole numbers, as in 0,1") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
