"""Commands that a page of the documentation tells: found in its blocks and its sentences, and parsed as they would be.

A block's line is a command to copy: it must parse whole. A sentence may name a part of one, `sne-edge bench --layers`.
Messages of the package tell commands as well; what they fill in stands there as `X`.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from sne_edge.cli import app

ROOT = Path(__file__).parents[1]
TOOLS = ("sne-edge", "make", "pip", "python")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```|((?:^ {4}\S.*\n)+)", re.S | re.M)


@dataclass(frozen=True)
class Command:
    """Words of a command, without its comment; `whole`: it is there to be copied."""

    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return shlex.join(self.words)


def commands(text: str) -> Iterator[Command]:
    """Of a page, in its order."""
    position, ends = 0, (len(text), len(text))
    for start, end in [*(block.span() for block in BLOCK.finditer(text)), ends]:
        for span in re.findall(r"`([^`]+)`", text[position:start]):
            yield from _read(" ".join(span.split()), False)
        block = BLOCK.match(text, start)
        if block is not None and (block[3] is not None or block[1] in ("", "sh", "console")):
            for line in (block[2] or block[3]).replace("\\\n", " ").splitlines():
                yield from _read(line.strip().removeprefix("$ "), True)
        position = end


def _read(line: str, whole: bool) -> Iterator[Command]:
    if line.split(" ")[0] not in TOOLS:
        return
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    for k, word in enumerate(words):
        if word in ("&&", ";"):
            yield Command(tuple(words[:k]), whole)
            yield from _read(shlex.join(words[k + 1 :]), whole)
            return
    yield Command(tuple(words), whole)


def messages(source: Path) -> Iterator[Command]:
    """Commands in the strings of a Python file, docstrings aside; whole, where something is filled in."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in inner | said:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        for command in commands(text):
            yield Command(command.words, "X" in command.words)


def fault(command: Command) -> str | None:
    """Why a command of a page cannot be meant, or None."""
    words = [word for word in command.words if not re.fullmatch(r"\[.*|[^\[]*\]|\.\.\.", word)]  # what may be left out
    if words[0] == "make":
        return _fault_of_make(words[1:])
    if words[0] == "pip":
        return _fault_of_pip(words[1:])
    if words[0] == "python":
        here = [word for word in words[1:2] if "/" in word and not (ROOT / word).is_file()]
        return f"there is no {here[0]}" if here else None
    return _fault_of_ours(words[1:], command.whole)


def _fault_of_make(words: list[str]) -> str | None:
    """A target of the Makefile; of another folder's, whatever is there."""
    if "-C" in words:
        return None
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    wrong = [word for word in words if "=" not in word and word not in (*targets, "run", "check")]
    return f"no target {wrong[0]}" if wrong else None


def _fault_of_pip(words: list[str]) -> str | None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2]
    extras = [*re.findall(r"^([a-z]+) = \[", project.partition("\n\n")[0], re.M), "NAME"]
    asked = [extra for word in words for extra in "".join(re.findall(r"\[(.*)\]", word)).split(",") if extra]
    wrong = [extra for extra in asked if extra not in extras]
    return f"no extra {wrong[0]}" if wrong else None


@cache
def _group() -> Any:
    return typer.main.get_command(app)


def _fault_of_ours(words: list[str], whole: bool) -> str | None:
    group = _group()
    if not words or words[0].startswith("-"):
        known = [*(option for parameter in group.params for option in parameter.opts), "--help", "-h"]
        return None if not words or words[0] in known else f"no option {words[0]}"
    if words[0] not in group.commands:
        return f"no command {words[0]}"
    command = group.commands[words[0]]
    try:
        context = command.make_context(words[0], list(words[1:]), resilient_parsing=False)
    except Exception as error:  # the module of the parser's errors differs by version
        told = str(error.format_message() if hasattr(error, "format_message") else error)
        partial = not whole and told.lower().startswith(("missing", "option")) and "no such" not in told.lower()
        return None if partial or isinstance(error, (typer.Exit, SystemExit)) else told
    for parameter in command.params:
        given = context.params.get(parameter.name)
        if parameter.name not in context.params or given is None or _defaulted(context, parameter.name):
            continue
        for value in given if isinstance(given, list | tuple) else [given]:
            wrong = _unknown(parameter, context, value)
            if wrong:
                return wrong
    return None


def _defaulted(context: Any, name: str) -> bool:
    return str(context.get_parameter_source(name)).endswith("DEFAULT")


def _unknown(parameter: Any, context: Any, value: object) -> str | None:
    """A name that a shell would not complete to; files, places and words in capitals stand for the reader's own."""
    offered = [item.value for item in parameter.shell_complete(context, "")]
    if not offered or not isinstance(value, str) or re.search(r"[./|]", value) or value.upper() == value:
        return None
    known = [name for name in offered if value == name or (name.endswith(":") and value.startswith(name))]
    return None if known else f"{parameter.opts[0]}: {value!r} is none of {', '.join(offered[:12])}"
