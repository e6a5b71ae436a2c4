"""The hook of mkdocs that lists the generated reference pages in the site's navigation."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Puts every page of docs/reference under `Reference`, the index of a folder first."""
    folder = Path(config["docs_dir"]) / "reference"
    for entry in config["nav"]:
        if "Reference" in entry:
            entry["Reference"] = _pages(folder, folder.parent)
    return config


def _pages(folder: Path, root: Path) -> list[Any]:
    files = sorted(folder.glob("*.md"), key=lambda path: (path.name != "index.md", path.name))
    inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [
        *(path.relative_to(root).as_posix() for path in files),
        *({path.name: _pages(path, root)} for path in inner),
    ]
