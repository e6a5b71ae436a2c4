"""The reference pages of the docs, written from the registries: `python -m pipelines.reference docs/reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipelines.catalog import CATALOGS, entries

TITLES = {
    "annotations": "Annotations: columns of facts about images, by `x2i annotate NAME` and its shortcuts",
    "scores": "Scores: annotations that `x2i filter` computes",
    "models": "Models: backends by ability",
    "recipes": "Recipes: tasks that `x2i materialize` makes",
    "sources": "Sources: what `x2i crawl` reads",
    "importers": "Importers: public formats that `x2i import` reads",
    "exporters": "Exporters: formats that `x2i export` writes",
}


def write_reference(folder: Path) -> list[Path]:
    """Writes one page per registry into `folder`; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for kind in CATALOGS:
        path = folder / f"{kind}.md"
        path.write_text("\n".join(page(kind, entries(kind))) + "\n", encoding="utf-8")
        pages.append(path)
    return pages


def page(kind: str, found: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yields the lines of the page about a registry."""
    yield f"# {TITLES.get(kind, kind.capitalize())}"
    yield ""
    yield f"Written by `python -m pipelines.reference docs/reference`; `x2i list {kind}` prints the same."
    for entry in found:
        yield ""
        yield f"## {entry['name']}"
        yield ""
        yield f"{entry['title']}."
        facts = {"ability": "group", "reads": "reads", "writes": "writes", "license": "license"}
        told = [f"- {label}: {entry[name]}" for label, name in facts.items() if entry.get(name)]
        if entry.get("extra"):
            told.append(f"- needs: `pip install 'x2i[{entry['extra']}]'`")
        if told:
            yield ""
            yield from told
        if entry["options"]:
            yield ""
            yield "| option | default | |"
            yield "|---|---|---|"
            for name, about in entry["options"].items():
                yield f"| `{name}` | `{_cell(about['default'])}` | {_cell(about['help'])} |"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    for written in write_reference(Path(sys.argv[1])):
        sys.stdout.write(f"{written}\n")
