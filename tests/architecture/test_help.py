"""`--help` of every command shows an example, set off as code."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from omnigen import cli as omnigen
from pipelines import cli as x2i
from x2i.annotate import ANNOTATIONS
from x2i.importers import IMPORTERS

PAGES = {"annotate": "annotations.md", "import": "importers.md"}


@pytest.mark.parametrize(
    ("program", "name"),
    [("x2i", name) for name in sorted(x2i.COMMAND_NAMES)] + [("omnigen", n) for n in omnigen.COMMANDS],
)
def test_the_help_of_every_command_shows_an_example(program: str, name: str) -> None:
    app = (x2i if program == "x2i" else omnigen)._load(name)
    ended = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert ended.exit_code == 0, ended.output
    assert re.search(rf"^  +{program} {name}\b", ended.output, re.MULTILINE), ended.output


@pytest.mark.parametrize(
    ("command", "name"),
    [("annotate", name) for name in ANNOTATIONS] + [("import", name) for name in IMPORTERS],
)
def test_the_help_of_every_annotation_and_importer_shows_an_example_and_its_page(command: str, name: str) -> None:
    ended = CliRunner().invoke(x2i._load(command), [name, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert ended.exit_code == 0, ended.output
    assert re.search(r"^  +x2i [a-z]+ .*my-dataset", ended.output, re.MULTILINE), ended.output
    assert f"docs/reference/{PAGES[command]}" in ended.output
