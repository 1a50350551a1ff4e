"""The documents against the code: every field of the configuration with its default, every command and option, links, imports."""
import argparse
import ast
import dataclasses
import importlib.util
import itertools
import re
import shlex
import typing
from pathlib import Path

import pytest

from jamflow_jax.config import build
from jamflow_jax.train.config import RunConfig
from launch import cli, run_config

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS, *sorted((ROOT / "configs").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]
COMMAND = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*jamflow ([a-z]+)\b(.*)$", re.M)
INLINE = re.compile(r"`jamflow ([a-z]+)\b([^`]*)`")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*(?:\.[A-Za-z_.]+)?")


def fields(cls: type = RunConfig, prefix: str = "") -> list[str]:
    """Dotted names of all fields that are not groups."""
    hints, found = typing.get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        name = prefix + field.name
        found += fields(hints[field.name], name + ".") if dataclasses.is_dataclass(hints[field.name]) else [name]
    return found


def documented() -> dict[str, str]:
    """Field -> default, from the tables of docs/configuration.md; braces stand for several fields."""
    rows = re.findall(r"^\| `([\w.{},]+)` \| (?:`([^`]*)`|\*(empty)\*) \| \S", (ROOT / "docs/configuration.md").read_text(), re.M)
    found = {}
    for name, value, _ in rows:
        parts = [part.split(",") for part in re.split(r"[{}]", name)]
        for full in map("".join, itertools.product(*(p if i % 2 else [",".join(p)] for i, p in enumerate(parts)))):
            assert full not in found, f"docs/configuration.md has {full} twice"
            found[full] = value
    return found


def test_the_configuration_page_has_every_field_and_no_other():
    assert sorted(documented()) == sorted(fields())


@pytest.mark.parametrize("field, text", documented().items())
def test_the_configuration_page_states_the_default_as_the_command_line_reads_it(field, text):
    values: dict = {}
    run_config.put(values, field, text)
    assert build(RunConfig, values) == RunConfig()


class _Caught(Exception):
    pass


@pytest.fixture(scope="module")
def parsers() -> dict[str, argparse.ArgumentParser]:
    """Verb -> the parser its main builds, caught before it parses."""
    caught = {}

    def catch(self, *_, **__):
        raise _Caught(self)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("parse_args", "parse_known_args"):
            patch.setattr(argparse.ArgumentParser, name, catch)
        for verb in cli.verbs():
            with pytest.raises(_Caught) as error:
                importlib.import_module(f"launch.{verb}").main([])
            caught[verb] = error.value.args[0]
    return caught


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Those of a command and of its forms."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return set(parser._option_string_actions).union(*(options(form) for group in groups for form in group.choices.values()))


def problems(verb: str, rest: str, parser: argparse.ArgumentParser, whole: bool) -> list[str]:
    """What is wrong with one command line; `whole`: it must parse, unless parts of it are left out (...)."""
    rest = re.sub(r"\s(#.*|\s+\(.*\))$", "", rest.replace("\\", ""))
    if verb == "launch" and " -- " in rest:
        own, _, train = rest.partition(" -- ")
        trainer = importlib.import_module("launch.train")._parser()
        return problems(verb, own, parser, whole) + problems("train", f" {train}", trainer, whole)
    found = []
    for flag in FLAG.findall(rest):
        if flag.startswith("--config."):
            name = flag.removeprefix("--config.")
            groups = {field[:i] for field in fields() for i, c in enumerate(field) if c == "."}
            if verb != "train" or name.rstrip(".") not in {*fields(), *groups, "FIELD"}:
                found.append(f"no field {name}")
        elif flag not in options(parser):
            found.append(f"no option {flag}")
    if not whole or found or "..." in rest or "[" in rest:
        return found
    words = [word for word in shlex.split(rest) if not word.startswith("$")]
    try:
        left = parser.parse_known_args(words)[1]
    except SystemExit:
        return [f"does not parse: {rest.strip()}"]
    if verb == "train":
        run_config.parse(left)
        file = words[words.index("--config") + 1]
        if (ROOT / file).exists():
            build(RunConfig, run_config.read(str(ROOT / file)))
    elif left:
        found.append(f"left over: {left}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_on_a_page_is_one_the_parsers_take(page, parsers):
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    wrong = []
    for pattern, whole in ((COMMAND, True), (INLINE, False)):
        for verb, rest in pattern.findall(text):
            found = problems(verb, rest, parsers[verb], whole) if verb in parsers else ["no such verb"]
            wrong += [f"jamflow {verb}: {problem}" for problem in found]
    if page.suffix == ".md":  # options named by themselves
        known = set().union(*map(options, parsers.values()))
        inline = " ".join(code for code in re.findall(r"`([^`\n]+)`", text) if code.startswith("--"))
        wrong += [f"{flag}: no command has it" for flag in FLAG.findall(inline) if flag.split(".")[0] not in known]
    assert not wrong


def test_commands_are_found_at_all(parsers):
    assert problems("prepare", " clips.jsonl --out d --spce lips", parsers["prepare"], True) == ["no option --spce"]
    assert problems("prepare", " --out d", parsers["prepare"], True) == ["does not parse: --out d"]
    assert problems("train", " --config base --workdir d --config.optim.lrr=1", parsers["train"], True) == ["no field optim.lrr"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS)
    assert {verb for verb, _ in COMMAND.findall(text)} >= {"prepare", "train", "sample", "evaluate"}


@pytest.mark.parametrize("page", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target


@pytest.mark.parametrize("page", DOCS, ids=lambda path: path.name)
def test_python_examples_import_what_there_is(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    found = hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")
                    assert found, f"{node.module} has no {alias.name}"
