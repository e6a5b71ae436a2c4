"""A saved .html file as a source: its images on the web are fetched, those saved beside it are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from x2i.crawl.locations import WHOLE_FILE, Location, local_path
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.pages.page import parse_page
from x2i.crawl.sources.row import SourceRow
from x2i.errors import UserError
from x2i.reasons import Dropped, Reason
from x2i.store.commits import file_digest
from x2i.words import WEB_TEXT

SUFFIXES = (".html", ".htm", ".xhtml", ".xht")
MAX_PAGE_BYTES = 64 * 1024 * 1024
_SAVED_FROM = re.compile(rb"<!-- saved from url=\(\d{4}\)(https?://[^\s]{1,2000}) -->")
"""What browsers write at the top of a page that they save."""


class SavedPageSource(SourceKind):
    """A web page saved as a file, with the images that its browser saved beside it."""

    title = "saved page"
    looks_like = " ".join(SUFFIXES)
    text_source = WEB_TEXT
    uses_network = True

    @classmethod
    def accepts(cls, source: str) -> bool:
        return source.lower().endswith(SUFFIXES) and Path(source).is_file()

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        """Yields the images of the page; a page that opts out gives none and is noted."""
        rows, opt_out = read_saved_page(Path(self.source), self.policy.product_token)
        notes.pages += 1
        if opt_out:
            notes.failures.append((self.source, Dropped(Reason.OPT_OUT, opt_out)))
        yield from rows

    def digest(self) -> str:
        return file_digest(Path(self.source))


def read_saved_page(path: Path, agent: str) -> tuple[list[SourceRow], str]:
    """Returns the images of a saved .html file, and its opt-out signal or "".

    Its relative addresses are files; only those below the page's own folder are read, so a page cannot name others.
    Raises UserError if it cannot be read, or is larger than any page.
    """
    path = path.resolve()
    try:
        size = path.stat().st_size
        if size > MAX_PAGE_BYTES:
            raise UserError(
                f"{path}: {size} bytes; a saved page has at most {MAX_PAGE_BYTES}: split it, or leave it out"
            )
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    page = parse_page(data, path.as_uri(), agent=agent)
    origin = _SAVED_FROM.search(data[:2000])
    page_url = origin[1].decode("ascii", "replace") if origin else path.as_uri()
    return [replace(_localized(row, path), page_url=page_url) for row in page.images], page.opt_out


def _localized(row: SourceRow, page: Path) -> SourceRow:
    """Marks an image of a saved page as a local file if it lies below the page's folder."""
    if urlsplit(row.url).scheme != "file":
        return row
    try:
        path = local_path(row.url).resolve()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or links that go in a circle
        return row
    if not path.is_relative_to(page.parent):
        return row
    name = f"{page.parent.name}/{path.relative_to(page.parent).as_posix()}"
    return replace(row, url=path.as_uri(), location=Location(WHOLE_FILE, path.as_uri()), name=name)
