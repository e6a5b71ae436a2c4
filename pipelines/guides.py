"""Where the docs speak of each command of `x2i`: its page, as a path in docs/."""

from __future__ import annotations

from collections.abc import Mapping

GUIDES: Mapping[str, str] = {
    "build": "guides/manifests.md",
    "crawl": "guides/crawling.md",
    "import": "guides/import.md",
    "filter": "guides/scores.md",
    "dedup": "guides/duplicates.md",
    "semantic-dedup": "guides/duplicates.md",
    "entity-clusters": "guides/embeddings.md",
    "subject-entities": "guides/subjects.md",
    "subject-frames": "guides/subjects.md",
    "frame-pairs": "guides/subjects.md",
    "repeats": "guides/captions.md",
    "caption": "guides/captions.md",
    "detect": "guides/objects.md",
    "annotate": "guides/maps.md",
    "list": "concepts/ideas.md",
    "embed": "guides/embeddings.md",
    "subjects": "guides/subjects.md",
    "select": "guides/select.md",
    "cvtasks": "guides/recipes.md",
    "materialize": "guides/recipes.md",
    "train": "guides/clusters.md",
    "inspect": "guides/inspect.md",
    "report": "guides/inspect.md",
    "reshard": "guides/export.md",
    "stats": "guides/inspect.md",
    "pairs": "guides/recipes.md",
    "export": "guides/export.md",
    "plan": "guides/cost.md",
    "takedown": "guides/takedown.md",
    "verify": "guides/inspect.md",
}


def pointer(command: str) -> str | None:
    """Returns the last line of a command's help, which names its page; None if it has none. command: its name."""
    return f"Its page: docs/{GUIDES[command]}" if command in GUIDES else None
