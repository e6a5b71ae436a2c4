"""Every command line in the docs is one that the program takes: commands and options exist, values parse."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.reference.commands import click_command, command_lines
from tests.support.documentation import DOCS, Line, lines, pages, parse
from tests.support.pages import typed
from x2i.annotate import ANNOTATIONS
from x2i.importers import IMPORTERS

LINES = [line for page in pages() for line in lines(page) if not any(word.startswith("my") for word in line.words)]
HELP = ("--help", "--version")


def test_the_docs_have_command_lines():
    assert len({line.page for line in LINES}) > 20


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_command_line_of_the_docs_parses(line: Line):
    if any(word in HELP for word in line.words):
        return
    parse(line.words)


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_every_annotation_has_a_command_line(name: str):
    parse(("x2i", "annotate", name, "data"))


@pytest.mark.parametrize("name", IMPORTERS)
def test_every_importer_has_a_command_line(name: str):
    parse(("x2i", "import", name, "source", "--out", "data"))


def test_a_list_of_choices_takes_those_alone(tmp_path: Path):
    done = typed(["x2i", "annotate", "normals", "data", "--flip", "up"], tmp_path)
    assert done.returncode == 2
    assert "expected x, y, z" in " ".join(done.stderr.split())


@pytest.mark.parametrize(("program", "name"), [(p, n) for p in ("x2i", "omnigen") for n in command_lines(p)])
def test_the_help_of_a_command_shows_an_example_and_its_page(program: str, name: str):
    command = click_command(command_lines(program)[name][0])
    assert f"{program} {name} " in command.help
    page = command.epilog.removeprefix("Its page: docs/")
    assert f"{program} {name}" in (DOCS / page).read_text()
