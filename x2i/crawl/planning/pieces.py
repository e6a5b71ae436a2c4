"""From sources to planned rows: every image once, in the order of the sources; what is said of it again is kept too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.planning.existing import ExistingImages, lineage_prefixes
from x2i.crawl.planning.hash_set import SortedHashSet
from x2i.crawl.planning.uids import digests, identities, normal_urls, prefixes_of, uids_of
from x2i.crawl.sources import PlanningNotes, SourceOptions, kind_of
from x2i.crawl.sources.batch import batched
from x2i.crawl.sources.tables.files import count_tables

PLANNED = ("uid", "url", "text", "page_url", "context", "license", "extra", "location")
"""The fields of a planned row, all text, without its key."""
SIGHTING_SCHEMA = pa.schema(
    [("uid", pa.string()), ("source", pa.string()), ("row", pa.int64())]
    + [(name, pa.string()) for name in ("url", "text", "page_url", "context", "license", "extra")]
)
"""A further mention of a planned or stored image. source: as it was given; row: counted from 1 in that source."""


@dataclass(frozen=True)
class Piece:
    """What a batch of source rows came to: rows to crawl (fields PLANNED), and sightings (SIGHTING_SCHEMA)."""

    rows: pa.Table
    sightings: pa.Table


def plan_pieces(
    sources: Sequence[str], options: SourceOptions, notes: PlanningNotes, known: ExistingImages
) -> Iterator[Piece]:
    """Yields the rows to crawl and the sightings, batch by batch, and fills `notes`. A URL counts without its fragment.

    What `known` has is a mention, and only if it says something that is not kept yet. Memory grows by 8 bytes per
    image. Raises UserError for a source that cannot be read. A page that cannot be fetched is noted; the rest goes on.
    """
    seen = SortedHashSet()
    for index, source in enumerate(sources):
        row, kind = 1, kind_of(source)
        if kind.name == "folder" and (tables := count_tables(source)):
            remedy = f"to read them, name them as well, such as '{source.rstrip('/')}/*.parquet'"
            notes.remarks[f"tables beside the images of {source} are not read: {remedy}"] += tables
        for table in batched(kind.rows(source, options, notes)):
            yield _plan_batch(_Batch(table, source, index, row, notes.rows + 1), notes, known, seen)
            row += table.num_rows
            notes.rows += table.num_rows


@dataclass(frozen=True)
class _Batch:
    """Source rows. number, first_row: of the source; first: of the batch's first row among those of all sources."""

    table: pa.Table
    source: str
    number: int
    first_row: int
    first: int


def _plan_batch(batch: _Batch, notes: PlanningNotes, known: ExistingImages, seen: SortedHashSet) -> Piece:
    table = batch.table
    urls = table["url"].combine_chunks()
    placed = pc.not_equal(table["location"].combine_chunks(), "")
    urls = pc.if_else(placed, urls, normal_urls(urls)) if pc.any(placed).as_py() else normal_urls(urls)
    table = table.set_column(0, "url", urls)
    names = identities(table, batch.number, batch.first)
    digest = digests(names)
    prefixes = prefixes_of(digest)
    is_known = known.contains(prefixes)
    if len(known):
        names, changed = known.with_changed_files(table, names, prefixes, is_known)
        if changed:
            digest = digests(names)
            prefixes = prefixes_of(digest)
            is_known = known.contains(prefixes)
            notes.changed += int((~is_known[changed]).sum())
    is_new = seen.add(prefixes) & ~is_known
    notes.known += int(is_known.sum())
    notes.repeated += int((~is_known & ~is_new).sum())
    table = table.add_column(0, "uid", uids_of(digest))
    rows = table if is_new.all() else table.filter(pa.array(is_new))
    return Piece(rows.select(PLANNED), _sightings(table, batch, known, is_known, is_new))


def _sightings(
    table: pa.Table,
    batch: _Batch,
    known: ExistingImages,
    is_known: npt.NDArray[np.bool_],
    is_new: npt.NDArray[np.bool_],
) -> pa.Table:
    kept = ~is_new & ~pc.equal(table["url"].combine_chunks(), "").to_numpy(zero_copy_only=False)
    if is_known.any():
        about = np.flatnonzero(is_known & kept)
        kept[about] = known.add_lineages(lineage_prefixes(table.take(pa.array(about))))
    positions = np.flatnonzero(kept)
    found = table.take(pa.array(positions))
    columns = {
        "source": pa.array([batch.source] * len(positions), pa.string()),
        "row": pa.array(positions + batch.first_row, pa.int64()),
    }
    return pa.Table.from_arrays(
        [columns.get(name, _column(found, name)) for name in SIGHTING_SCHEMA.names], schema=SIGHTING_SCHEMA
    )


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | None:
    return table[name] if name in table.column_names else None
