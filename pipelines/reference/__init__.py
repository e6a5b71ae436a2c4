"""The reference pages of the docs, written from the code: registries, command lines, the Python API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

INDEX = """# Reference

These pages are written from the code by `make reference`: an option stands here as it stands in the program.

| page | what it lists |
|---|---|
"""


def write_reference(folder: Path) -> list[Path]:
    """Writes all reference pages into `folder`, with an index; returns the paths."""
    written = dict(_pages())
    shown = {name: text for name, text in written.items() if "/" not in name or name.endswith("/index.md")}
    rows = [f"| [{_title(text)}]({name}) | {_first_sentence(text)} |\n" for name, text in shown.items()]
    for name, text in {"index.md": INDEX + "".join(rows), **written}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [folder / "index.md", *(folder / name for name in written)]


def _pages() -> Iterator[tuple[str, str]]:
    from pipelines.reference.commands import command_pages
    from pipelines.reference.python import python_page
    from pipelines.reference.registries import registry_pages
    from pipelines.reference.training_keys import training_keys_page

    yield from command_pages()
    yield from registry_pages()
    yield "training-keys.md", training_keys_page()
    yield "python.md", python_page()


def _title(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ")


def _first_sentence(text: str) -> str:
    return text.split("\n\n")[1].partition(". ")[0].rstrip(".").replace("\n", " ")
