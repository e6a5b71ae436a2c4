"""Reference pages are written from the code: registries, command lines, the configuration, the Python API."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.catalog import CATALOGS, entries
from pipelines.reference import write_reference
from pipelines.reference.commands import click_command, command_lines


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of each page by its name."""
    folder = tmp_path_factory.mktemp("reference")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in write_reference(folder)}


def test_a_page_shows_every_entry_with_its_options(reference):
    for kind in CATALOGS:
        for entry in entries(kind):
            assert f"## {entry['name']}\n\n{entry['title'].rstrip('.')}.\n" in reference[f"{kind}.md"]
            assert all(f"| `{name}` | " in reference[f"{kind}.md"] for name in entry["options"])


def test_every_entry_has_a_title_and_every_option_help():
    for kind in CATALOGS:
        for entry in entries(kind):
            assert entry["title"], (kind, entry["name"])
            for name, about in entry["options"].items():
                assert about["help"], (kind, entry["name"], name)


@pytest.mark.parametrize("program", ["x2i", "omnigen"])
def test_every_command_has_a_page_with_all_its_options(reference, program):
    for name, (load, _) in command_lines(program).items():
        page = reference[f"{program}/{name}.md"]
        for parameter in click_command(load).params:
            assert parameter.param_type_name == "argument" or f"`{parameter.opts[0]}`" in page, (name, parameter.name)
            assert parameter.help, (name, parameter.name)


def test_the_index_leads_to_every_page(reference):
    for name in reference:
        folder = f"{Path(name).parts[0]}/" if "/" in name else ""
        assert (
            f"({name})" in reference["index.md"]
            or f"({Path(name).name})" in reference[f"{folder}index.md"]
            or (name == "index.md")
        )


def test_methods_and_keys_are_listed(reference):
    assert "### Dataset.query" in reference["python.md"]
    assert "`data.max_side`" in reference["training-keys.md"]
