"""What a path given to `inspect` is, and which samples of it are shown."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from x2i.errors import UserError
from x2i.sample import Sample
from x2i.seeding import stable_hash
from x2i.store import Dataset, paths
from x2i.store.files.cache import local_copy
from x2i.store.shards import Shard, find_shards
from x2i.store.verify.scan import looks_like_samples, scan_shard


class Kind(StrEnum):
    DATASET = "dataset"
    SHARDS = "folder of shards"
    SHARD = "shard"
    IMAGES = "image partition"
    TABLE = "table"


@dataclass(frozen=True)
class Target:
    """A path and what it holds. `dataset` is the dataset it is or lies in, None for foreign files."""

    kind: Kind
    path: Path
    dataset: Dataset | None

    def shards(self) -> list[Shard]:
        """Returns the training shards of this target, by name."""
        if self.kind is Kind.SHARD:
            return [Shard(self.path)]
        if self.kind is Kind.DATASET and self.dataset is not None:
            return self.dataset.shards()
        return find_shards(self.path) if self.kind is Kind.SHARDS else []


@dataclass(frozen=True)
class SampleView:
    """One training sample as it lies in its shard."""

    shard: Shard
    row: dict[str, Any]

    @property
    def sample(self) -> Sample:
        return self.shard.sample(self.row)

    @property
    def images(self) -> list[bytes]:
        return self.shard.image_data(self.row)

    @property
    def image_names(self) -> list[str]:
        """Member suffixes such as input_1.jpg and output.png, in the order of `images`."""
        return list(self.row["image_names"])


@dataclass(frozen=True)
class Selection:
    """The samples to show, by task, and how many there are of each task in all."""

    shown: dict[str, list[SampleView]]
    totals: dict[str, int]
    shards: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(len(views) for views in self.shown.values())

    @property
    def total(self) -> int:
        return sum(self.totals.values())


def open_target(path: Path) -> Target:
    """Finds out what `path` is. Raises UserError if it is nothing that can be shown."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected a dataset, a shard (.tar) or a table (.parquet)")
    dataset = _dataset_of(path)
    if path.is_dir():
        if dataset is not None and dataset.root.resolve() == path.resolve():
            return Target(Kind.DATASET, path, dataset)
        if find_shards(path):
            return Target(Kind.SHARDS, path, dataset)
        raise UserError(f"{path}: neither a dataset ({paths.DATASET_FILE} is missing) nor a folder with .tar shards")
    if path.suffix == paths.INDEX_SUFFIX:
        return Target(Kind.TABLE, path, dataset)
    if path.suffix != paths.SHARD_SUFFIX:
        raise UserError(f"{path}: expected a dataset folder, a .tar or a .parquet file")
    if looks_like_samples(path):
        return Target(Kind.SHARD, path, dataset)
    if "status" in index_fields(path):
        return Target(Kind.IMAGES, path, dataset)
    raise UserError(
        f"{path}: neither an X2I shard (<key>.json, <key>.output.jpg) nor an image partition with its index"
    )


def index_fields(tar: Path) -> list[str]:
    """Returns the field names of a tar's index, none if it has no index."""
    path = tar.with_suffix(paths.INDEX_SUFFIX)
    return list(pq.read_schema(local_copy(path)).names) if path.exists() else []


def shard_rows(shard: Shard) -> list[dict[str, Any]]:
    """Returns the index rows of a shard; rebuilt from the tar where a foreign shard has no index."""
    if "image_offsets" in index_fields(shard.tar):
        return shard.index().to_pylist()
    return scan_shard(shard.tar).rows


def select_samples(target: Target, task: str | None, per_task: int, limit: int | None = None) -> Selection:
    """Chooses up to `per_task` samples of every task by the hash of their keys, so that the choice is always the same.

    limit: at most this many in all, taken from the tasks in turn. Raises UserError if `task` names no task there is.
    """
    totals: Counter[str] = Counter()
    shards: Counter[str] = Counter()
    ranked: dict[str, list[tuple[int, str, int, int]]] = {}
    found = target.shards()
    for number, shard in enumerate(found):
        keys = _keys_and_tasks(shard)
        for place, (key, name) in enumerate(keys):
            totals[name] += 1
            entry = (-stable_hash("inspect", key), key, number, place)
            best = ranked.setdefault(name, [])
            if len(best) < per_task:
                heapq.heappush(best, entry)
            else:
                heapq.heappushpop(best, entry)
        shards.update({name for _, name in keys})
    if task is not None and task not in totals:
        raise UserError(f"{target.path}: no samples of task {task!r}; there are: {', '.join(sorted(totals)) or 'none'}")
    chosen = {name: sorted(ranked[name], reverse=True) for name in sorted(totals) if task in (None, name)}
    rows: dict[int, list[dict[str, Any]]] = {}
    shown: dict[str, list[SampleView]] = {}
    for name, entries in _within(chosen, limit).items():
        for _, _, number, place in entries:
            if number not in rows:
                rows[number] = shard_rows(found[number])
            shown.setdefault(name, []).append(SampleView(found[number], rows[number][place]))
    return Selection(shown, {name: totals[name] for name in chosen}, dict(shards))


def find_sample(target: Target, key: str) -> SampleView | None:
    """Returns the sample with this key, or None."""
    for shard in target.shards():
        if "image_offsets" in index_fields(shard.tar):
            rows = pq.read_table(local_copy(shard.index_path), filters=[("key", "=", key)]).to_pylist()
        else:
            rows = [row for row in shard_rows(shard) if row["key"] == key]
        for row in rows:
            return SampleView(shard, row)
    return None


def _keys_and_tasks(shard: Shard) -> list[tuple[str, str]]:
    if "image_offsets" in index_fields(shard.tar):
        table: pa.Table = shard.index(["key", "task"])
        return list(zip(table["key"].to_pylist(), table["task"].to_pylist()))
    return [(row["key"], row["task"]) for row in scan_shard(shard.tar).rows]


def _within(chosen: dict[str, list[Any]], limit: int | None) -> dict[str, list[Any]]:
    """Cuts to `limit` entries in all: first one of every task, then a second of every task, and so on."""
    if limit is None:
        return chosen
    turns = sorted((place, name) for name, entries in chosen.items() for place in range(len(entries)))
    allowed = Counter(name for _, name in turns[:limit])
    return {name: entries[: allowed[name]] for name, entries in chosen.items() if allowed[name]}


def _dataset_of(path: Path) -> Dataset | None:
    for folder in (path, *path.resolve().parents[:3]):
        if (folder / paths.DATASET_FILE).exists():
            return Dataset.open(folder)
    return None
