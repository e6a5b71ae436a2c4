"""Where the docs speak of each command: its page, as a path in docs/."""

from __future__ import annotations

from collections.abc import Mapping

GUIDES: Mapping[str, str] = {
    "x2i build": "start/lab.md",
    "x2i crawl": "guides/crawling.md",
    "x2i import": "guides/import.md",
    "x2i filter": "guides/scores.md",
    "x2i dedup": "guides/duplicates.md",
    "x2i caption": "guides/captions.md",
    "x2i detect": "guides/objects.md",
    "x2i annotate": "guides/maps.md",
    "x2i list": "concepts/ideas.md",
    "x2i embed": "guides/embeddings.md",
    "x2i subjects": "guides/subjects.md",
    "x2i select": "guides/select.md",
    "x2i cvtasks": "guides/recipes.md",
    "x2i materialize": "guides/recipes.md",
    "x2i train": "guides/clusters.md",
    "x2i inspect": "guides/inspect.md",
    "x2i report": "guides/inspect.md",
    "x2i reshard": "guides/export.md",
    "x2i stats": "guides/inspect.md",
    "x2i export": "guides/export.md",
    "x2i plan": "guides/cost.md",
    "x2i takedown": "guides/takedown.md",
    "x2i verify": "guides/inspect.md",
    "omnigen train": "guides/training.md",
    "omnigen encode": "guides/encode.md",
    "omnigen generate": "guides/generate.md",
    "omnigen convert": "guides/models.md",
    "omnigen merge": "guides/models.md",
    "omnigen unmerge": "guides/models.md",
    "omnigen ablate": "guides/training.md",
}


def pointer(command: str) -> str | None:
    """Returns the last line of a command's help, which names its page; None if it has none. command: `x2i crawl`."""
    return f"Its page: docs/{GUIDES[command]}" if command in GUIDES else None
