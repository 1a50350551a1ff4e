"""`jamflow VERB ...`: finds the command and hands it the rest of the line.

A verb is a file of this folder with a function `main(argv) -> exit code`; its line in the help is the first sentence of the
file's docstring. Both are read from the source text, so that `jamflow --help` imports nothing heavy.
"""
import ast
import difflib
import importlib
import sys
from pathlib import Path

from launch.exits import CLEAN, WRONG_USAGE

FOLDER = Path(__file__).parent
ORDER = ("quickstart", "prepare", "plan", "train", "sample", "evaluate", "convert", "sweep", "report")  # others follow by name
USAGE = "usage: jamflow VERB [options]        (the same as: python -m launch.VERB [options])"


def verbs(folder: Path = FOLDER) -> dict[str, str]:
    """Verb -> its one line of help, in the order a newcomer meets them."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        if path.stem.startswith("_") or path.stem in ("cli", "exits"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
    rank = {verb: i for i, verb in enumerate(ORDER)}
    return dict(sorted(found.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0])))


def overview() -> str:
    """The text of `jamflow --help`."""
    known = verbs()
    width = max(map(len, known), default=0)
    lines = [f"  {verb:<{width}}  {line}" for verb, line in known.items()]
    return "\n".join([
        "jamflow: speech and facial motion from one flow-matching transformer (JAM-Flow in JAX)", "", USAGE, "", *lines, "",
        "jamflow VERB --help says more. Exit codes: 0 clean, 3 finished but some inputs rejected, 1 nothing usable, 2 wrong usage.",
    ])


def main(argv: list[str] | None = None) -> int:
    """Runs one command line; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv:
        print(overview(), file=sys.stderr)
        return WRONG_USAGE
    verb, rest = argv[0], argv[1:]
    if verb in ("-h", "--help", "help"):
        print(overview())
        return CLEAN
    if verb in ("-V", "--version"):
        from importlib.metadata import version

        print(version("jamflow-jax"))
        return CLEAN
    known = verbs()
    if verb not in known:
        near = difflib.get_close_matches(verb, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the verbs are {', '.join(known)}"
        print(f"error: no verb {verb!r}; {hint}", file=sys.stderr)
        return WRONG_USAGE
    return importlib.import_module(f"launch.{verb}").main(rest)


if __name__ == "__main__":
    sys.exit(main())
