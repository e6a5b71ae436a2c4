"""From sources to planned rows: every image once, in the order of the sources, and apart its duplicate sightings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.planning.existing import ExistingImages, lineage_prefixes
from x2i.crawl.planning.hash_set import SortedHashSet
from x2i.crawl.planning.identity import digests, identities, normal_urls, prefixes_of, uids_of
from x2i.crawl.sources.batch import batched
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.row import TEXT_FIELDS, UNREADABLE

PLANNED = ("uid", *TEXT_FIELDS, "location")
"""The fields of a planned row, all text, without its key."""
SIGHTING_SCHEMA = pa.schema(
    [("uid", pa.string()), ("source", pa.string()), ("row", pa.int64())]
    + [(name, pa.string()) for name in TEXT_FIELDS]
    + [("corrects", pa.bool_())]
)
"""A further sighting of a planned or stored image. source: as it was given; row: counted from 1 in that source.

corrects: the source is the one that the words in the store come from, and now has others.
"""


@dataclass(frozen=True)
class PlannedRows:
    """What a batch of source rows came to: rows to crawl (fields PLANNED), and sightings (SIGHTING_SCHEMA)."""

    rows: pa.Table
    sightings: pa.Table


def plan_rows(sources: Sequence[SourceKind], notes: PlanningNotes, existing: ExistingImages) -> Iterator[PlannedRows]:
    """Yields the rows to crawl and the sightings, batch by batch, and fills `notes`. A URL counts without its fragment.

    An image that exists already is a sighting, and only if it says something that is not kept yet. Memory grows by 8
    bytes per image. Raises UserError for a source that cannot be read. A page that cannot be fetched is noted; the rest
    goes on.
    """
    seen = SortedHashSet()
    for number, source in enumerate(sources):
        row = 1
        for table in batched(source.rows(notes), source.text_source):
            yield _plan_batch(_Batch(table, source.source, number, row, notes.rows + 1), notes, existing, seen)
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


def _plan_batch(batch: _Batch, notes: PlanningNotes, existing: ExistingImages, seen: SortedHashSet) -> PlannedRows:
    table = batch.table
    urls = table["url"].combine_chunks()
    located = pc.not_equal(table["location"].combine_chunks(), "")
    if pc.any(located).as_py():
        # the fragment of a file's URL tells its members apart
        own = pc.and_not(located, pc.match_substring_regex(urls, "^https?://", ignore_case=True))
        urls = pc.if_else(own, urls, normal_urls(urls))
    else:
        urls = normal_urls(urls)
    table = table.set_column(0, "url", urls)
    names = identities(table, batch.number, batch.first)
    digest = digests(names)
    prefixes = prefixes_of(digest)
    exists = existing.contains(prefixes)
    if len(existing):
        names, changed = existing.with_changed_files(table, names, prefixes, exists)
        if changed:
            digest = digests(names)
            prefixes = prefixes_of(digest)
            exists = existing.contains(prefixes)
            notes.changed += int((~exists[changed]).sum())
    is_first = seen.add(prefixes)
    is_new = is_first & ~exists
    notes.known += int(exists.sum())
    notes.repeated += int((~exists & ~is_new).sum())
    table = table.add_column(0, "uid", uids_of(digest))
    rows = table if is_new.all() else table.filter(pa.array(is_new))
    return PlannedRows(rows.select(PLANNED), _sightings(table, batch, existing, exists, is_new, is_first, notes))


def _sightings(
    table: pa.Table,
    batch: _Batch,
    existing: ExistingImages,
    exists: npt.NDArray[np.bool_],
    is_new: npt.NDArray[np.bool_],
    is_first: npt.NDArray[np.bool_],
    notes: PlanningNotes,
) -> pa.Table:
    kept = ~is_new & ~pc.equal(table["url"].combine_chunks(), "").to_numpy(zero_copy_only=False)
    if exists.any():
        about = np.flatnonzero(exists & kept)
        kept[about] = existing.add_lineages(lineage_prefixes(table.take(pa.array(about))))
    positions = np.flatnonzero(kept)
    found = table.take(pa.array(positions))
    columns = {
        "source": pa.array([batch.source] * len(positions), pa.string()),
        "row": pa.array(positions + batch.first_row, pa.int64()),
    }
    readable = ~pc.equal(found["text_source"].combine_chunks(), UNREADABLE).to_numpy(zero_copy_only=False)
    corrects = existing.owns(batch.source, found["uid"].to_pylist()) & (exists & is_first)[positions] & readable
    notes.corrected += int(corrects.sum())
    columns["corrects"] = pa.array(corrects, pa.bool_())
    arrays = [columns[name] if name in columns else found[name] for name in SIGHTING_SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=SIGHTING_SCHEMA)
