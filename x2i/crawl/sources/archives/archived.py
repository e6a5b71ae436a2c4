"""The images of one web archive while it is read: their records, and their text from the archive's own pages."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from x2i.crawl.locations import Location
from x2i.crawl.sources.row import SourceRow

_COLUMNS = "url TEXT, offset INTEGER, size INTEGER, archived TEXT, page_text TEXT"


@dataclass(frozen=True)
class ArchivedImage:
    """url: as it was archived. offset, size: of the record in bytes. archived: its WARC-Date."""

    url: str
    offset: int
    size: int
    archived: str


class ArchivedImages:
    """A temporary table, on disk once it outgrows a small cache, so that an archive of any size can be planned."""

    def __init__(self) -> None:
        self._table = sqlite3.connect("", isolation_level=None)
        self._table.execute(f"CREATE TABLE images (number INTEGER PRIMARY KEY, {_COLUMNS})")
        self._table.execute("CREATE INDEX urls ON images (url)")
        self._table.execute("BEGIN")

    def __enter__(self) -> ArchivedImages:
        return self

    def __exit__(self, *exception: object) -> None:
        self._table.close()

    def __bool__(self) -> bool:
        return self._table.execute("SELECT 1 FROM images LIMIT 1").fetchone() is not None

    def __contains__(self, url: str) -> bool:
        return self._table.execute("SELECT 1 FROM images WHERE url = ? LIMIT 1", (_key(url),)).fetchone() is not None

    def add(self, image: ArchivedImage) -> None:
        values = (_key(image.url), image.offset, image.size, image.archived)
        self._table.execute("INSERT INTO images (url, offset, size, archived) VALUES (?, ?, ?, ?)", values)

    def add_page_text(self, rows: Sequence[SourceRow]) -> None:
        """Keeps what a page says about images of the archive; the first page that names one decides."""
        for row in rows:
            page_text = json.dumps([row.text, row.page_url, row.context, row.license, dict(row.extra)])
            self._table.execute(
                "UPDATE images SET page_text = ? WHERE url = ? AND page_text IS NULL", (page_text, _key(row.url))
            )

    def rows(self, path: str) -> Iterator[SourceRow]:
        """Yields the images in the order of the archive at `path`."""
        query = "SELECT url, offset, size, archived, page_text FROM images ORDER BY number"
        for url, offset, size, archived, page_text in self._table.execute(query):
            text, page_url, context, license, extra = json.loads(page_text) if page_text else ("", "", "", "", {})
            if archived:
                extra["archived"] = archived
            location = Location("warc", path, offset, size)
            yield SourceRow(url, text, page_url, context, license, extra, location)


def _key(url: str) -> str:
    """Returns a URL as SQLite can hold it: no half surrogate pairs."""
    return url.encode("utf-8", "replace").decode()
