"""What a dataset has from earlier crawls: the identities of images, their sightings, and contents of local files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.locations import WHOLE_FILE, Location, is_local, local_path
from x2i.crawl.planning.hash_set import Prefixes, SortedHashSet
from x2i.crawl.planning.identity import digests, prefixes_of, prefixes_of_uids
from x2i.crawl.sources.row import TEXT_FIELDS
from x2i.errors import UserError
from x2i.reasons import Reason
from x2i.store import paths
from x2i.store.commits import file_digest
from x2i.store.files.atomic import read_columns
from x2i.store.files.remote import list_files
from x2i.store.plans import read_plan

LINEAGE = ("uid", *TEXT_FIELDS[1:])
"""What tells one sighting of an image from another; the URL is part of the uid."""
READERS = 4
FILES_AT_ONCE = 64
_SEPARATOR = "\x1f"


class ExistingImages:
    """The images that earlier crawls into a dataset planned or stored: 8 bytes each, 16 once one is sighted again."""

    def __init__(self, root: Path, stages: Sequence[str]) -> None:
        """stages: of the earlier crawls."""
        self._root = root
        self._files = list(_partition_files(root, stages))
        self._sightings = [path for stage in stages if (path := paths.sightings_file(root, stage)).exists()]
        plans = [plan for stage in stages if (plan := read_plan(root, stage)) is not None]
        self._sources = {source for plan in plans for source in plan.config.get("sources", ())}
        self._sighted: dict[str, set[str]] = {}
        self._uids = SortedHashSet()
        self._lineages: SortedHashSet | None = None
        self._contents: dict[int, tuple[str, int]] | None = None
        for table in self._read(self._files, ("uid",)):
            self._uids.add(prefixes_of_uids(table["uid"].combine_chunks()))

    def __len__(self) -> int:
        return len(self._uids)

    def contains(self, prefixes: Prefixes) -> npt.NDArray[np.bool_]:
        """Returns for each image whether it is known."""
        return self._uids.contains(prefixes)

    def owns(self, source: str, uids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Returns for each image whether its words in the store can come from `source`.

        They can if the source was crawled before, and was not one that only named images again.
        """
        if source not in self._sources:
            return np.zeros(len(uids), np.bool_)
        if source not in self._sighted:
            tables = (read_columns(path, ("uid", "source", "corrects")) for path in self._sightings)
            self._sighted[source] = {
                uid
                for table in tables
                for uid, name, corrects in zip(*(table[column].to_pylist() for column in table.column_names))
                if name == source and not corrects
            }
        return np.array([uid not in self._sighted[source] for uid in uids], np.bool_)

    def add_lineages(self, lineages: Prefixes) -> npt.NDArray[np.bool_]:
        """Adds lineages (see `lineage_prefixes`); returns for each whether it was new."""
        if self._lineages is None:
            self._lineages = SortedHashSet()
            for table in self._read(self._files, LINEAGE):
                self._lineages.add(lineage_prefixes(table))
            for table in self._read(self._sightings, (*LINEAGE, "corrects")):
                self._lineages.add(lineage_prefixes(table.filter(pc.invert(table["corrects"]))))
        return self._lineages.add(lineages)

    def with_changed_files(
        self, table: pa.Table, names: pa.Array, prefixes: Prefixes, is_known: npt.NDArray[np.bool_]
    ) -> tuple[pa.Array, list[int]]:
        """Returns the identities of a batch, and which of its rows are known files with other contents than stored.

        To their identity belongs, from now on, the sha256 of what they hold: they are other images of the same name.
        """
        changed: dict[int, str] = {}
        location, name = table["location"], table["name"]
        for row in np.flatnonzero(is_known).tolist():
            if not location[row].as_py() or not name[row].as_py():
                continue
            where = Location.from_json(location[row].as_py())
            if where.kind == WHOLE_FILE and is_local(where.path):
                content = self._changed_content(int(prefixes[row]), local_path(where.path))
                if content:
                    changed[row] = content
        if not changed:
            return names, []
        texts = names.to_pylist()
        for row, content in changed.items():
            texts[row] = f"{texts[row]}@{content}"
        return pa.array(texts, pa.string()), sorted(changed)

    def _changed_content(self, prefix: int, path: Path) -> str:
        """Returns the sha256 of a file if it is not what was stored under this identity, else ""."""
        if self._contents is None:
            self._contents = {}
            for table in self._read(self._files, ("uid", "host", "sha256", "bytes", "reason")):
                if "host" in table.column_names:  # an index, not a plan
                    # of what was taken down nothing is known any more, and it does not come back by having changed
                    present = pc.invert(pc.fill_null(pc.equal(table["reason"], str(Reason.TAKEN_DOWN)), False))
                    local = table.filter(pc.and_(pc.equal(table["host"], ""), present))
                    values = zip(local["sha256"].to_pylist(), local["bytes"].to_pylist())
                    found = prefixes_of_uids(local["uid"].combine_chunks()).tolist()
                    self._contents.update(zip(found, values, strict=True))
        stored = self._contents.get(prefix)
        try:
            if stored is None or (not stored[0] and stored[1] == path.stat().st_size):
                return ""
            content = file_digest(path)
        except OSError:
            return ""
        return "" if content == stored[0] else content

    def _read(self, files: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yields those of `columns` that the files have, many files in one table."""
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(files), FILES_AT_ONCE):
                some = files[start : start + FILES_AT_ONCE]
                tables = pool.map(lambda path: _read_columns(path, columns), some)
                yield from map(pa.concat_tables, _same_columns(tables))


def _read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    try:
        return read_columns(path, columns)
    except pa.ArrowException as error:
        fix = "continue the crawl that it belongs to first, or run x2i verify"
        raise UserError(f"{path}: damaged ({error}): {fix}") from error


def _same_columns(tables: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """Yields runs of tables that have the same columns: indexes of the store have more than plans."""
    for _, group in itertools.groupby(tables, key=lambda table: table.column_names):
        yield list(group)


def lineage_prefixes(table: pa.Table) -> Prefixes:
    """Returns a 64-bit hash of the LINEAGE fields of each row."""
    columns = [pc.fill_null(table[name].combine_chunks(), "") for name in LINEAGE]
    return prefixes_of(digests(pc.binary_join_element_wise(*columns, _SEPARATOR)))


def _partition_files(root: Path, stages: Sequence[str]) -> Iterator[Path]:
    """Yields, by partition, where its rows are: in the image store, or only planned."""
    stored = {path.name for path in list_files(root / "images", paths.INDEX_SUFFIX)} if stages else set()
    for stage in stages:
        planned = {path.stem: path for path in list_files(root / "plans" / stage, paths.INDEX_SUFFIX)}
        committed = {path.stem for path in list_files(root / "commits" / stage, ".json")}
        for partition in sorted({*planned, *committed}):
            index = paths.image_index(root, partition)
            if partition in planned or index.name in stored:
                yield index if index.name in stored else planned[partition]
