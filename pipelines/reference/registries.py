"""One reference page per registry: each entry with what it reads and writes, what it needs, and its options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipelines.catalog import CATALOGS, entries

TITLES = {
    "annotations": ("Annotations", "Columns of facts about images, made by `x2i annotate NAME` and its shortcuts"),
    "scores": ("Scores", "The annotations that `x2i filter` computes"),
    "relations": ("Relations", "What holds between images: copies, pairs, subjects; each made by its command"),
    "models": ("Models", "Backends by ability, as `--model` and its like name them"),
    "recipes": ("Recipes", "The tasks that `x2i materialize` makes training samples of"),
    "sources": ("Sources", "What `x2i crawl` reads"),
    "importers": ("Importers", "The public formats that `x2i import` reads"),
    "exporters": ("Exporters", "The formats that `x2i export` writes"),
    "codecs": ("Codecs", "How the trainer turns images into latents"),
    "manifests": ("Manifests", "The builds that come with the package, for `x2i build NAME`"),
    "configurations": ("Configurations", "The trainings that come with the package, for `omnigen train NAME`"),
}
FACTS = {"group": "ability", "reads": "reads", "writes": "writes", "license": "license"}


def registry_pages() -> Iterator[tuple[str, str]]:
    """Yields (file name, text) of the page about each registry."""
    for kind in CATALOGS:
        yield f"{kind}.md", "\n".join(page(kind, entries(kind))) + "\n"


def page(kind: str, found: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yields the lines of the page about a registry."""
    title, about = TITLES.get(kind, (kind.capitalize(), f"What `x2i list {kind}` lists"))
    yield from (f"# {title}", "", f"{about}. `x2i list {kind}` prints the same.")
    for entry in found:
        yield from ("", f"## {entry['name']}", "", f"{entry['title'].rstrip('.')}.")
        facts = [f"- {label}: {entry[name]}" for name, label in FACTS.items() if entry.get(name)]
        if entry.get("extra"):
            facts.append(f"- needs: `pip install 'x2i[{entry['extra']}]'`")
        if facts:
            yield ""
            yield from facts
        if entry["options"]:
            yield from ("", "| option | default | |", "|---|---|---|")
            for name, option in entry["options"].items():
                yield f"| `{name}` | {code(option['default'])} | {cell(option['help'])} |"
        if entry.get("path"):
            yield from ("", "```yaml", Path(entry["path"]).read_text(encoding="utf-8").rstrip(), "```")


def code(value: Any) -> str:
    """Returns a value as code for a table cell; nothing for an empty text."""
    return f"`{cell(value)}`" if str(value) else ""


def cell(value: Any) -> str:
    """Returns a value as the text of a table cell."""
    return str(value).replace("|", "\\|").replace("\n", " ")
