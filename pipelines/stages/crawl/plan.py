"""Planning a crawl: rows of sources cut into partitions with their keys, and beside them duplicate sightings."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import typer

from pipelines.engine.stage import PlanCounts, PlanItem, PlannedPartition, PlannedSightings
from x2i.crawl.locations import Location, location_states
from x2i.crawl.partition import PlanRow
from x2i.crawl.planning.existing import ExistingImages
from x2i.crawl.planning.identity import url_host
from x2i.crawl.planning.plan_rows import plan_rows
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.errors import UserError
from x2i.store import Dataset, paths
from x2i.store.commits import digest
from x2i.store.files.remote import append_log, list_files
from x2i.store.tombstones import Tombstones
from x2i.takedown.redact import without_tombstoned

PLAN_SCHEMA = pa.schema([(column.name, pa.string()) for column in fields(PlanRow)])


def plan_crawl(
    sources: Sequence[SourceKind],
    dataset: Dataset,
    earlier: Sequence[str],
    later: Sequence[str],
    *,
    size: int,
    config: Mapping[str, Any],
    max_bytes: int,
) -> Iterator[PlanItem]:
    """Yields the partitions of a crawl, its sightings and its counts.

    earlier, later: the stages that fill this dataset's image store, begun before this one and after it. What the
    earlier have is not planned again, and partitions get the numbers that theirs leave free. size: rows of a partition;
    config: what decides its bytes. Raises UserError if the sources name nothing, or more than fits before the
    partitions of the later ones.
    """
    notes = PlanningNotes()
    tombstones = Tombstones.load(dataset.root)
    existing = ExistingImages(dataset.root, earlier)
    taken, end = set(_numbers(dataset, earlier)), min(_numbers(dataset, later), default=None)
    free = (number for number in itertools.count() if number not in taken)
    partitions = _Partitions(free, end, size, config, max_bytes, tombstones)
    sightings = 0
    for planned in plan_rows(sources, notes, existing):
        further = _not_taken_down(planned.sightings, tombstones)
        sightings += further.num_rows
        if further.num_rows:
            yield PlannedSightings(further)
        yield from partitions.add(planned.rows)
    yield from partitions.rest()
    report_notes(dataset, notes)
    counts = {"repeated": notes.repeated, "known": notes.known, "changed": notes.changed}
    counts |= {"corrected": notes.corrected, "sightings": sightings}
    counts |= {"bad_lines": len(notes.bad_lines)}
    if any(counts.values()):
        yield PlanCounts({name: count for name, count in counts.items() if count})
    if not notes.rows:
        raise UserError(f"no images are named in {', '.join(one.source for one in sources)}. {notes.summary()}".strip())


def local_inputs(locations: Sequence[str], max_bytes: int) -> dict[str, str]:
    """Returns the digest of what the files at `locations` hold, so that one that changes is noticed; {} if none.

    locations: as JSON, "" for what is fetched.
    """
    states = location_states((Location.from_json(location) for location in locations if location), max_bytes)
    return {"local files": digest(states)} if states else {}


def report_notes(dataset: Dataset, notes: PlanningNotes) -> None:
    """Logs each page, file and line that planning could not read, and prints a summary of them."""
    if (dataset.root / paths.DATASET_FILE).exists():
        failed = [("page", *failure) for failure in notes.failures] + [("file", *failure) for failure in notes.unread]
        for event, url, verdict in failed:
            line = {"event": event, "url": url, "reason": verdict.reason, "detail": verdict.detail}
            append_log(dataset.root, "crawl", {**line, "time": time.time()})
        for file, where, why in notes.bad_lines:
            line = {"event": "bad line", "url": file, "where": where, "detail": why}
            append_log(dataset.root, "crawl", {**line, "time": time.time()})
    if notes.summary():
        typer.secho(f"crawl: {notes.summary()}", err=True, fg="yellow" if notes.failures or notes.bad_lines else None)


@dataclass
class _Partitions:
    """Cuts tables of any size into partitions of `size` rows. numbers: of the partitions; end: not to be reached."""

    numbers: Iterator[int]
    end: int | None
    size: int
    config: Mapping[str, Any]
    max_bytes: int
    tombstones: Tombstones
    waiting: list[pa.Table] = field(default_factory=list)
    rows: int = 0

    def add(self, table: pa.Table) -> Iterator[PlannedPartition]:
        """Yields the partitions that are full."""
        self.waiting.append(table)
        self.rows += table.num_rows
        if self.rows < self.size:
            return
        joined = pa.concat_tables(self.waiting)
        end = self.rows // self.size * self.size
        for start in range(0, end, self.size):
            yield self._make(joined.slice(start, self.size).combine_chunks())
        # copied, so that a few waiting rows do not hold a whole batch in memory
        self.waiting, self.rows = [joined.slice(end).combine_chunks()], self.rows - end

    def rest(self) -> Iterator[PlannedPartition]:
        """Yields the last partition, if rows are left."""
        if self.rows:
            yield self._make(pa.concat_tables(self.waiting).combine_chunks())

    def _make(self, rows: pa.Table) -> PlannedPartition:
        number = next(self.numbers)
        name = paths.partition_name(number)
        if self.end is not None and number >= self.end:
            raise UserError(
                f"crawl: these sources need more partitions than before, and {paths.partition_name(self.end)} belongs "
                "to a later crawl: choose the earlier --partition-size, or another dataset folder"
            )
        located = pc.any(pc.not_equal(rows["location"], "")).as_py()
        inputs = local_inputs(rows["location"].to_pylist(), self.max_bytes) if located else {}
        keys = pc.binary_join_element_wise(name, _row_numbers(self.size).slice(0, rows.num_rows), "-")
        table = without_tombstoned(rows.add_column(0, "key", keys).select(PLAN_SCHEMA.names), self.tombstones)
        return PlannedPartition(name, table.cast(PLAN_SCHEMA), self.config, inputs)


@functools.lru_cache(maxsize=1)
def _row_numbers(count: int) -> pa.StringArray:
    """Returns the numbers of the rows of a partition as keys write them."""
    return pa.array([f"{row:05d}" for row in range(count)], pa.string())


def _not_taken_down(sightings: pa.Table, tombstones: Tombstones) -> pa.Table:
    if not tombstones or not sightings.num_rows:
        return sightings
    sources = zip(sightings["uid"].to_pylist(), sightings["url"].to_pylist())
    return sightings.filter(pa.array([not tombstones.covers_source(uid, url_host(url)) for uid, url in sources]))


def _numbers(dataset: Dataset, stages: Sequence[str]) -> Iterator[int]:
    for stage in stages:
        for folder, suffix in (("plans", paths.INDEX_SUFFIX), ("commits", ".json")):
            names = (path.name.removesuffix(suffix) for path in list_files(dataset.root / folder / stage, suffix))
            yield from (int(name) for name in names if name.isdigit())
