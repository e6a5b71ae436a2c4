"""Plans after a takedown: rows about removed images go, and where the images that stay lie is brought up to date.

The rows become what planning would give for the dataset as it is, as far as each row is decided by its own images. So
a plan on record stays valid, and running the stage again neither refuses nor plans anew. In planned rows, `data_offset`
is where the image `key` lies in its tar; `data_offsets` is that of each of `images`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.planning.identity import url_host
from x2i.store import paths
from x2i.store.files.atomic import read_table, write_table
from x2i.store.files.remote import list_files
from x2i.store.images import read_image_index
from x2i.store.plans import Plan, read_plan, table_digest
from x2i.store.stages import ingest_stages, plans_images
from x2i.store.tombstones import host_is_among
from x2i.takedown.journal import Journal
from x2i.takedown.redact import redact_rows
from x2i.takedown.tables import rows_about

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
        index = read_image_index(root, partition, ["key", "data_offset"])
        return dict(zip(index["key"].to_pylist(), index["data_offset"].to_pylist()))

    after: dict[tuple[str, str], Planned] = {}
    for stage, path, _ in _concerned(root, journal.images):
        before = read_table(path)
        if plans_images(before.column_names):
            rows = redact_rows(before, journal.images[path.stem])
        else:
            rows = _moved(before.filter(pc.invert(rows_about(before, journal.names))), journal, offsets)
        if not rows.equals(before):
            write_table(path, rows.combine_chunks())
        if path.stem in journal.plans.get(stage, {}):
            after[(stage, path.stem)] = Planned(table_digest(rows), rows.num_rows, path.stat().st_size)
    return after


def rewrite_sightings(root: Path, journal: Journal) -> None:
    """Drops what sources say besides about removed images and hosts."""
    for path in list_files(root / "sightings", paths.INDEX_SUFFIX):
        before = read_table(path)
        urls = pc.unique(before["url"]).to_pylist()
        hosted = {url for url in urls if host_is_among(url_host(url), journal.record.hosts)}
        rows = before.filter(pc.invert(rows_about(before, journal.names | hosted | set(journal.urls))))
        if not rows.num_rows:
            path.unlink()
        elif rows.num_rows < before.num_rows:
            write_table(path, rows.combine_chunks())


def _concerned(root: Path, images: dict[str, list[str]]) -> Iterator[tuple[str, Path, Plan | None]]:
    """Yields (stage, file of planned rows, the stage's plan) for each file that may speak of the image partitions."""
    names, ingest = {f"{_IMAGES}{partition}" for partition in images}, ingest_stages(root)
    for folder in sorted(path for path in (root / "plans").glob("*") if path.is_dir()):
        plan = read_plan(root, folder.name)
        inputs = {entry.id: entry.inputs for entry in plan.entries} if plan else {}
        for path in list_files(folder, paths.INDEX_SUFFIX):
            read = {name for name in inputs.get(path.stem, ()) if name.startswith(_IMAGES)}
            if path.stem in images if folder.name in ingest else names & read or not read:
                yield folder.name, path, plan


def _moved(rows: pa.Table, journal: Journal, offsets: Offsets) -> pa.Table:
    """Returns `rows` with the offsets that the images have now."""
    for keys, places in (("key", "data_offset"), ("images", "data_offsets")):
        if not {keys, places} <= set(rows.column_names):
            continue
        field, column = rows.schema.field(places), rows[keys].combine_chunks()
        are_lists = pa.types.is_list(column.type)
        flat_keys = (pc.list_flatten(column) if are_lists else column).to_pylist()
        old = rows[places].combine_chunks()
        flat_old = (pc.list_flatten(old) if are_lists else old).to_pylist()
        now = [
            offsets(part).get(key, offset) if (part := paths.image_partition(key)) in journal.images else offset
            for key, offset in zip(flat_keys, flat_old)
        ]
        values = pa.array(now, field.type.value_type if are_lists else field.type)
        moved = pa.ListArray.from_arrays(old.offsets, values, type=field.type) if are_lists else values
        rows = rows.set_column(rows.column_names.index(places), field, moved)
    return rows.combine_chunks()
