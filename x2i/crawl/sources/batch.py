"""Rows of sources in batches: an Arrow table for thousands of rows, so that long lists are planned column by column."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from x2i.crawl.sources.kind import Rows
from x2i.crawl.sources.row import TEXT_FIELDS, SourceRow
from x2i.sample import canonical_json

SOURCE_SCHEMA = pa.schema([(name, pa.string()) for name in (*TEXT_FIELDS, "location", "name")])
"""The fields of SourceRow as text: extra and location as JSON, location "" if there is none. No field is null."""
ROWS_AT_ONCE = 1024
"""Rows of a source that gives them one by one, per batch: few, since such a source may be slow."""


def source_table(urls: pa.Array, **columns: pa.Array) -> pa.Table:
    """Returns a table of SOURCE_SCHEMA; fields that are not given are empty, `extra` an empty object."""
    given = {"url": urls, **columns}
    arrays = [given.get(name, pa.repeat("{}" if name == "extra" else "", len(urls))) for name in SOURCE_SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=SOURCE_SCHEMA)


def batched(rows: Iterable[Rows], text_source: str = "") -> Iterator[pa.Table]:
    """Yields what a source gives, in its order, as tables of SOURCE_SCHEMA.

    text_source: of the words of rows that do not say whose they are.
    """
    for is_table, group in itertools.groupby(rows, key=lambda item: isinstance(item, pa.Table)):
        if is_table:
            yield from group  # type: ignore[misc]  # groupby does not narrow
            continue
        while chunk := list(itertools.islice(group, ROWS_AT_ONCE)):
            yield _rows_table(chunk, text_source)  # type: ignore[arg-type]


def strings(texts: Sequence[str]) -> pa.Array:
    """Returns texts as an Arrow array; half a surrogate pair, which JSON can write and UTF-8 cannot, becomes U+FFFD."""
    try:
        return pa.array(texts, pa.string())
    except (UnicodeEncodeError, pa.ArrowInvalid):
        return pa.array([_storable(text) for text in texts], pa.string())


def _rows_table(rows: Sequence[SourceRow], text_source: str) -> pa.Table:
    return source_table(
        strings([row.url for row in rows]),
        text=strings([row.text for row in rows]),
        text_source=strings([row.text_source or (text_source if row.text else "") for row in rows]),
        page_url=strings([row.page_url for row in rows]),
        context=strings([row.context for row in rows]),
        license=strings([row.license for row in rows]),
        extra=strings([canonical_json(dict(row.extra)) for row in rows]),
        location=strings([row.location.to_json() if row.location else "" for row in rows]),
        name=strings([row.name for row in rows]),
    )


def _storable(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
