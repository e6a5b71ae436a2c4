"""Planning a crawl: rows of sources cut into partitions with their keys, and what else the sources say kept beside."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine.stage import PlanCounts, PlanItem, PlannedPartition, PlannedSightings
from x2i.errors import UserError
from x2i.store import paths
from x2i.store.files.logs import append_log
from x2i.store.files.remote import list_files

if TYPE_CHECKING:
    from pipelines.stages.crawl.stage import CrawlStage
    from x2i.crawl.sources import PlanningNotes
    from x2i.store import Dataset
    from x2i.store.tombstones import Tombstones

_NAMES = ("key", "uid", "url", "text", "page_url", "context", "license", "extra", "location")
PLAN_SCHEMA = pa.schema([(name, pa.string()) for name in _NAMES])


def plan_crawl(stage: CrawlStage, dataset: Dataset, earlier: Sequence[str], later: Sequence[str]) -> Iterator[PlanItem]:
    """Yields the partitions of a crawl, its sightings and its counts.

    earlier, later: the stages of crawls into this dataset that came before and after. What the earlier have is not
    planned again, and partitions are numbered on from theirs. Raises UserError if the sources name nothing, or more
    than fits before the partitions of the later ones.
    """
    from x2i.crawl.planning.existing import ExistingImages
    from x2i.crawl.planning.pieces import plan_pieces
    from x2i.crawl.sources import PlanningNotes
    from x2i.store.tombstones import Tombstones

    notes = PlanningNotes()
    tombstones = Tombstones.load(dataset.root)
    known = ExistingImages(dataset.root, earlier)
    number, end = 1 + max(_numbers(dataset, earlier), default=-1), min(_numbers(dataset, later), default=None)
    cutter = _Cutter(stage.partition_size)
    sightings = 0
    for piece in plan_pieces(stage.sources, stage.source_options(), notes, known):
        further = _not_taken_down(piece.sightings, tombstones)
        sightings += further.num_rows
        if further.num_rows:
            yield PlannedSightings(further)
        for rows in cutter.cut(piece.rows):
            yield _partition(stage, number, end, rows, tombstones)
            number += 1
    for rows in cutter.rest():
        yield _partition(stage, number, end, rows, tombstones)
    tell_notes(dataset, notes)
    counts = {"repeated": notes.repeated, "known": notes.known, "changed": notes.changed, "sightings": sightings}
    counts |= {"bad_lines": len(notes.bad_lines)}
    if any(counts.values()):
        yield PlanCounts({name: count for name, count in counts.items() if count})
    if not notes.rows:
        raise UserError(f"no images are named in {', '.join(stage.sources)}. {notes.summary()}".strip())


def local_inputs(locations: Sequence[str], max_bytes: int) -> dict[str, str]:
    """Returns the digest of what the files at `locations` hold, so that one that changes is noticed; {} if none.

    locations: as JSON, "" for what is fetched.
    """
    from x2i.crawl.locations import Location, location_states
    from x2i.store.commits import digest

    states = location_states((Location.from_json(location) for location in locations if location), max_bytes)
    return {"local files": digest(states)} if states else {}


def tell_notes(dataset: Dataset, notes: PlanningNotes) -> None:
    """Makes visible what planning could not read: a line in the log for each page and file, one line on the screen."""
    if (dataset.root / paths.DATASET_FILE).exists():
        failed = [("page", *failure) for failure in notes.failures] + [("file", *failure) for failure in notes.unread]
        for event, url, verdict in failed:
            line = {"event": event, "url": url, "reason": verdict.reason, "detail": verdict.detail}
            append_log(dataset.root, "crawl", {**line, "time": time.time()})
        for file, where, why in notes.bad_lines:
            line = {"event": "bad line", "url": file, "where": where, "detail": why}
            append_log(dataset.root, "crawl", {**line, "time": time.time()})
    if notes.summary():
        import typer

        typer.secho(f"crawl: {notes.summary()}", err=True, fg="yellow" if notes.failures or notes.bad_lines else None)


class _Cutter:
    """Cuts tables of any size into tables of `size` rows."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[pa.Table] = []
        self._rows = 0

    def cut(self, table: pa.Table) -> Iterator[pa.Table]:
        self._held.append(table)
        self._rows += table.num_rows
        if self._rows < self._size:
            return
        joined = pa.concat_tables(self._held)
        end = self._rows // self._size * self._size
        for start in range(0, end, self._size):
            yield joined.slice(start, self._size).combine_chunks()
        # copied, so that a few waiting rows do not hold a whole batch in memory
        self._held, self._rows = [joined.slice(end).combine_chunks()], self._rows - end

    def rest(self) -> Iterator[pa.Table]:
        if self._rows:
            yield pa.concat_tables(self._held).combine_chunks()


def _partition(
    stage: CrawlStage, number: int, end: int | None, rows: pa.Table, tombstones: Tombstones
) -> PlannedPartition:
    from x2i.takedown.redact import without_tombstoned

    if end is not None and number >= end:
        raise UserError(
            f"crawl: these sources need more partitions than before, and {paths.partition_name(end)} belongs to a "
            "later crawl: choose the earlier --partition-size, or another dataset folder"
        )
    name = paths.partition_name(number)
    locations = rows["location"]
    inputs = local_inputs(locations.to_pylist(), stage.max_bytes) if pc.any(pc.not_equal(locations, "")).as_py() else {}
    keys = pc.binary_join_element_wise(name, _row_numbers(stage.partition_size).slice(0, rows.num_rows), "-")
    table = without_tombstoned(rows.add_column(0, "key", keys).select(PLAN_SCHEMA.names), tombstones)
    return PlannedPartition(name, table.cast(PLAN_SCHEMA), stage.partition_config(), inputs)


@functools.lru_cache(maxsize=1)
def _row_numbers(count: int) -> pa.StringArray:
    """Returns the numbers of the rows of a partition as keys write them."""
    return pa.array([f"{row:05d}" for row in range(count)], pa.string())


def _not_taken_down(sightings: pa.Table, tombstones: Tombstones) -> pa.Table:
    from x2i.crawl.planning.identity import url_host

    if not tombstones or not sightings.num_rows:
        return sightings
    sources = zip(sightings["uid"].to_pylist(), sightings["url"].to_pylist())
    return sightings.filter(pa.array([not tombstones.covers_source(uid, url_host(url)) for uid, url in sources]))


def _numbers(dataset: Dataset, stages: Sequence[str]) -> Iterator[int]:
    for stage in stages:
        for folder, suffix in (("plans", paths.INDEX_SUFFIX), ("commits", ".json")):
            names = (path.name.removesuffix(suffix) for path in list_files(dataset.root / folder / stage, suffix))
            yield from (int(name) for name in names if name.isdigit())


def config_value(value: Any) -> Any:
    """Returns an option as JSON gives it back."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, str) else value
