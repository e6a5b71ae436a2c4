"""Plans after a takedown: rows about removed images go, and the places of the images that stay are brought up to date.

The rows become what planning would give for the dataset as it is, as far as each row is decided by its own images. So
a plan on record stays valid, and running the stage again neither refuses nor plans anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.planning.identity import url_host
from x2i.store import paths
from x2i.store.columns import read_relation
from x2i.store.dataset import is_ingest_stage
from x2i.store.files.atomic import read_table, write_table
from x2i.store.files.table_digest import table_digest
from x2i.store.images import read_image_index
from x2i.store.plans import Plan, read_plan
from x2i.store.tombstones import host_is_among
from x2i.takedown.journal import Journal
from x2i.takedown.redact import blank_rows
from x2i.takedown.rewrite import rows_about

Offsets = Callable[[str], dict[str, int]]
"""Image partition -> where each of its stored images lies in its tar."""
_IMAGES = "images/"


@dataclass(frozen=True)
class Planned:
    """The rows of a planned partition as they are: their digest, their number, the bytes of their file."""

    digest: str
    rows: int
    size: int


def plan_digests(root: Path, images: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """Returns the digests of the planned partitions that a takedown of `images` rewrites: stage -> partition -> digest.

    A plan that is not whole has none: its stage plans anew.
    """
    found: dict[str, dict[str, str]] = {}
    for stage, path, plan in _concerned(root, images):
        digests = {entry.id: entry.plan for entry in plan.entries} if plan else {}
        if path.stem in digests and table_digest(read_table(path)) == digests[path.stem]:
            found.setdefault(stage, {})[path.stem] = digests[path.stem]
    return found


def rewrite_plans(root: Path, journal: Journal) -> dict[tuple[str, str], Planned]:
    """Rewrites the planned rows. Returns (stage, partition) -> what they are for all that are in `journal.plans`."""

    @functools.lru_cache(maxsize=64)
    def offsets(partition: str) -> dict[str, int]:
        index = read_image_index(root, partition, ["key", "offset"])
        return dict(zip(index["key"].to_pylist(), index["offset"].to_pylist()))

    after: dict[tuple[str, str], Planned] = {}
    for stage, path, _ in _concerned(root, journal.images):
        before = read_table(path)
        if is_ingest_stage(stage):
            rows = blank_rows(before, journal.images[path.stem])
        else:
            rows = _current(root, before, journal, offsets)
        if not rows.equals(before):
            write_table(path, rows)
        if path.stem in journal.plans.get(stage, {}):
            after[(stage, path.stem)] = Planned(table_digest(rows), rows.num_rows, path.stat().st_size)
    return after


def rewrite_sightings(root: Path, journal: Journal) -> None:
    """Drops what sources say besides about removed images and hosts."""
    for path in sorted((root / "sightings").glob(f"*{paths.INDEX_SUFFIX}")):
        before = read_table(path)
        hosts = {
            url: host_is_among(url_host(url), journal.record.hosts) for url in pc.unique(before["url"]).to_pylist()
        }
        gone = pa.array(sorted({url for url, inside in hosts.items() if inside} | set(journal.urls)), pa.string())
        about = pc.or_(rows_about(before, journal.keys, journal.uids), pc.is_in(before["url"].combine_chunks(), gone))
        rows = before.filter(pc.invert(about))
        if not rows.num_rows:
            path.unlink()
        elif rows.num_rows < before.num_rows:
            write_table(path, rows.combine_chunks())


def _concerned(root: Path, images: dict[str, list[str]]) -> Iterator[tuple[str, Path, Plan | None]]:
    """Yields (stage, file of planned rows, the stage's plan) for each file that may speak of the image partitions."""
    names = {f"{_IMAGES}{partition}" for partition in images}
    for folder in sorted(path for path in (root / "plans").glob("*") if path.is_dir()):
        plan = read_plan(root, folder.name)
        inputs = {entry.id: entry.inputs for entry in plan.entries} if plan else {}
        for path in sorted(folder.glob(f"*{paths.INDEX_SUFFIX}")):
            read = [name for name in inputs.get(path.stem, ()) if name.startswith(_IMAGES)]
            is_about = not read or not names.isdisjoint(read)
            if path.stem in images if is_ingest_stage(folder.name) else is_about:
                yield folder.name, path, plan


def _current(root: Path, rows: pa.Table, journal: Journal, offsets: Offsets) -> pa.Table:
    rows = rows.filter(pc.invert(rows_about(rows, journal.keys | journal.sample_keys, journal.uids))).combine_chunks()
    names = rows.column_names
    if {"key", "cluster", "is_duplicate"} <= set(names) and paths.relation_file(root, "duplicates").exists():
        relation = read_relation(root, "duplicates")
        places = pc.index_in(rows["key"].combine_chunks(), relation["key"].combine_chunks())
        for name in ("cluster", "is_duplicate"):
            rows = rows.set_column(names.index(name), rows.schema.field(name), relation[name].take(places))
    if {"key", "offset", "size"} <= set(names):
        moved = [
            _moved(key, offset, journal, offsets)
            for key, offset in zip(rows["key"].to_pylist(), rows["offset"].to_pylist())
        ]
        rows = _with(rows, "offset", moved)
    if {"images", "offsets"} <= set(names):
        pairs = zip(rows["images"].to_pylist(), rows["offsets"].to_pylist())
        rows = _with(rows, "offsets", [[_moved(k, o, journal, offsets) for k, o in zip(ks, os)] for ks, os in pairs])
    return rows.combine_chunks()


def _with(rows: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    field = rows.schema.field(name)
    return rows.set_column(rows.column_names.index(name), field, pa.array(values, field.type))


def _moved(key: str, offset: int, journal: Journal, offsets: Offsets) -> int:
    partition = paths.image_partition(key)
    return offsets(partition).get(key, offset) if partition in journal.images else offset
