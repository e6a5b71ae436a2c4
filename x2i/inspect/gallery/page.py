"""The page of a gallery: sections of cards, and what opens when one is clicked, written beside their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from x2i.inspect.html import render_page
from x2i.store.files.atomic import write_bytes

THUMBNAIL_SIDE = 336


def write_page(
    folder: Path, title: str, about: str, sections: Sequence[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]]
) -> Path:
    """Writes index.html into `folder`; returns its path. sections, documents: as the template and its script read."""
    page = render_page(
        "gallery.html",
        "gallery.css",
        "gallery.js",
        title=title,
        kind="gallery",
        about=about,
        sections=sections,
        documents=documents,
    )
    write_bytes(folder / "index.html", page)
    return folder / "index.html"


def write_picture(path: Path, data: bytes) -> None:
    """Writes one picture plainly: a gallery is made again in seconds; an fsync each would take longer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
