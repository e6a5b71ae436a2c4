"""Where images are named: tables of URLs, web pages, saved pages, folders; told apart by looking at the source text."""

from __future__ import annotations

import hashlib
import os
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from x2i.crawl.sources.folder import list_images, read_folder, sidecars
from x2i.crawl.sources.pages import PageCrawl, crawl_pages, read_local_page
from x2i.crawl.sources.row import SourceRow
from x2i.crawl.sources.table import SUFFIXES, TableColumns, is_table, read_table
from x2i.errors import UserError
from x2i.store.commits import digest, file_digest

__all__ = [
    "PageCrawl",
    "SourceKind",
    "SourceRow",
    "TableColumns",
    "crawl_pages",
    "kind_of",
    "read_folder",
    "read_local_page",
    "read_table",
    "source_digest",
]


class SourceKind(StrEnum):
    TABLE = "table"
    WEB_PAGE = "web_page"
    LOCAL_PAGE = "local_page"
    FOLDER = "folder"


def kind_of(source: str) -> SourceKind:
    """Returns what kind of source the text names. Raises UserError if it names none."""
    if source.lower().startswith(("http://", "https://")):
        return SourceKind.WEB_PAGE
    path = Path(source)
    if path.is_dir():
        return SourceKind.FOLDER
    if not path.exists():
        raise UserError(f"source {source!r}: no such file or folder, and no http(s) URL")
    if path.suffix.lower() in (".html", ".htm", ".xhtml"):
        return SourceKind.LOCAL_PAGE
    if is_table(path.name):
        return SourceKind.TABLE
    raise UserError(
        f"source {source!r}: unknown kind {path.suffix!r}; expected a table ({' '.join(SUFFIXES)}), "
        "an .html page, an http(s) URL of a page, or a folder of images"
    )


def source_digest(source: str) -> str:
    """Returns a digest that changes with what a source holds: a file's bytes, a folder's listing, a page's address.

    A folder's listing is names, sizes and times of change; the text of caption files counts whole.
    """
    kind = kind_of(source)
    if kind is SourceKind.WEB_PAGE:
        return hashlib.sha256(source.encode()).hexdigest()
    if kind is not SourceKind.FOLDER:
        return file_digest(Path(source))
    folder, listing = Path(source), []
    for path in list_images(folder):
        state = path.stat()
        captions = [file_digest(side) for side in sidecars(path)]
        listing.append([quote(os.fsencode(path.relative_to(folder))), state.st_size, state.st_mtime_ns, captions])
    return digest(listing)
