"""The pages of the documentation as data: their blocks, the command lines in them, and the real parsers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import REPOSITORY

DOCS = REPOSITORY / "docs"
GENERATED = ("reference", "gallery")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    (?:\$ )?((?:x2i|omnigen|torchrun) .+)$", re.MULTILINE)
TORCHRUN = re.compile(r"torchrun .*-m omnigen\.cli")


def pages() -> list[Path]:
    """Returns the written pages, README and CONTRIBUTING included, generated ones left out."""
    found = [path for path in sorted(DOCS.rglob("*.md")) if path.relative_to(DOCS).parts[0] not in GENERATED]
    return [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *found]


def blocks(text: str) -> list[tuple[str, str]]:
    """Returns (language, code) of the fenced blocks."""
    return FENCED.findall(text)


@dataclass(frozen=True)
class Line:
    """A command line of a page, in words; comments and what follows `&&` are taken apart."""

    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.name}: {shlex.join(self.words)}"


def lines(page: Path) -> Iterator[Line]:
    """Yields every `x2i ...` and `omnigen ...` of the page's blocks."""
    text = page.read_text(encoding="utf-8")
    fenced = [code for language, code in blocks(text) if language in ("sh", "bash", "console")]
    typed = [line for code in fenced for line in code.splitlines()]
    typed += INDENTED.findall(FENCED.sub("", text))
    for line in typed:
        for words in shell_commands(TORCHRUN.sub("omnigen", line.removeprefix("$ ").strip())):
            if words and words[0] in ("x2i", "omnigen") and len(words) > 1:
                yield Line(page, tuple(words))


def shell_commands(line: str) -> list[list[str]]:
    """Returns the commands of a line, in words; comments are left out."""
    return [shlex.split(command, comments=True) for command in line.split("&&")]


def parse(words: tuple[str, ...]) -> None:
    """Parses a command line with the command's own parser, and runs nothing. Raises an error that click shows."""
    from pipelines.reference.commands import click_command, command_lines

    program, name, *rest = words
    command = click_command(command_lines(program)[name][0])
    context = command.make_context(f"{program} {name}", list(rest))
    if (program, name) in (("x2i", "annotate"), ("x2i", "import")) and "--help" not in rest:
        _parse_inner(name, context)


def _parse_inner(name: str, context: object) -> None:
    """Parses the rest of `x2i annotate NAME ...` and `x2i import NAME ...`, whose options depend on NAME."""
    import typer
    from typer.main import get_command

    from pipelines.annotation_command import annotation_command
    from pipelines.commands.imports import import_command

    makers = {"annotate": annotation_command, "import": import_command}
    app = typer.Typer()
    app.command()(makers[name](context.params["name"]))  # type: ignore[attr-defined]
    get_command(app).make_context(name, list(context.args))  # type: ignore[attr-defined]
