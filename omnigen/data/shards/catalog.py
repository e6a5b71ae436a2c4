"""What the trainer knows of its shards without reading their samples: the Parquet indexes, checked, held as columns."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnigen.data.shards.check import require_matching_tar
from omnigen.data.shards.columns import number_column, numbers, text_column, texts
from omnigen.data.shards.find import FoundShard, find_training_shards
from omnigen.data.shards.index import ShardIndex, read_shard_index
from omnigen.data.shards.sample_ref import SampleRef, SampleTable
from omnigen.data.shards.unindexed import make_index
from omnigen.data.shards.unique_keys import duplicates, hash_texts
from omnigen.data.shards.validation_split import ShardSplit, held_out_uids, join_splits, split_shard
from x2i.errors import UserError
from x2i.store.files.cache import FileCache, StoredFile, machine_cache
from x2i.store.files.ranges import RangeReader
from x2i.store.paths import INDEX_SUFFIX
from x2i.store.shards import Shard, is_validation_shard

__all__ = ["Catalog", "held_out_uids", "open_cache", "task_weights"]
CLASS = "class"
"""The task of class pictures (prior preservation)."""
OPENED_AT_A_TIME = {False: 4, True: 32}  # shards, by whether they lie on a store; there, waiting is all the work


@dataclass(frozen=True)
class Catalog:
    """The samples of some shards, in the order of the shards' names.

    tasks: names in sorted order; task_id: int16 per sample, an index into it. shard_id: int32, an index into `shards`.
    held_out: bool per sample; True: for validation only. mirrorable: bool per sample. keys, instructions: large
    strings per sample.
    images: IMAGE of every sample's inputs and output, sample after sample; those of sample i are
    [first_image[i], first_image[i + 1]), int64. keys_digest: a hash of all keys in order. to_keep: the tars on a store
    that fit into the cache together.
    """

    shards: tuple[Shard, ...]
    tasks: tuple[str, ...]
    task_id: npt.NDArray[np.int16]
    shard_id: npt.NDArray[np.int32]
    held_out: npt.NDArray[np.bool_]
    mirrorable: npt.NDArray[np.bool_]
    keys: pa.ChunkedArray
    instructions: pa.ChunkedArray
    images: npt.NDArray[np.void]
    first_image: npt.NDArray[np.int64]
    keys_digest: str
    cache: FileCache | None = None
    to_keep: tuple[StoredFile, ...] = ()

    @classmethod
    def open(
        cls,
        paths: Sequence[str | Path],
        validation_fraction: float = 0.0,
        split_seed: int = 0,
        cache: FileCache | None = None,
    ) -> Catalog:
        """Reads and checks the shards under `paths`: dataset folders, folders of shards or tars, local or URLs.

        A sample is held out if any photograph it comes from is (`held_out_uids` says which are), or if its shard is of
        the validation part. cache: where the indexes of shards on a store, and the made indexes of shards without one,
        are kept; these need one.
        Raises UserError naming the file and the remedy if there are no shards, an index is missing, unreadable or lacks
        a column, a tar is missing, truncated, not the one its index describes or not harmless, or a key is duplicated.
        """
        return cls.of(find_training_shards(paths), validation_fraction, split_seed, cache)

    @classmethod
    def of(
        cls,
        found: Sequence[FoundShard],
        validation_fraction: float = 0.0,
        split_seed: int = 0,
        cache: FileCache | None = None,
    ) -> Catalog:
        """Like `open`, of shards that were found already."""

        def opened(shard: FoundShard) -> _Opened:
            return _open(shard, cache, validation_fraction, split_seed)

        columns = _Columns()
        with ThreadPoolExecutor(OPENED_AT_A_TIME[any(shard.is_remote for shard in found)]) as pool:
            for shard in pool.map(opened, found):
                columns.add(shard)
        hashes = numbers(columns.hashes)
        _require_unique_keys(found, columns.lengths, hashes, cache)
        tasks, task_id = columns.sorted_tasks()
        catalog = cls(
            shards=tuple(shard.shard for shard in found),
            tasks=tasks,
            task_id=task_id,
            shard_id=np.repeat(np.arange(len(found), dtype=np.int32), columns.lengths),
            held_out=join_splits(columns.splits, validation_fraction),
            mirrorable=numbers(columns.mirrorable),
            keys=texts(columns.keys),
            instructions=texts(columns.instructions),
            images=numbers(columns.images),
            first_image=np.concatenate([[0], numbers(columns.num_images).cumsum(dtype=np.int64)]),
            keys_digest=hashlib.blake2b(hashes.tobytes(), digest_size=8).hexdigest(),
            cache=cache,
            to_keep=_to_keep(found, cache),
        )
        pa.default_memory_pool().release_unused()
        return catalog

    def __len__(self) -> int:
        return len(self.task_id)

    def with_trigger(self, word: str) -> Catalog:
        """Returns the catalog with `word` and a space before every instruction that does not contain the word, but for
        those of the task CLASS.
        """
        has = pc.match_substring(self.instructions, word)
        if CLASS in self.tasks:
            has = pc.or_(has, pa.array(self.task_id == self.tasks.index(CLASS)))
        prefixed = pc.binary_join_element_wise(
            pa.scalar(word, pa.large_string()), self.instructions, pa.scalar(" ", pa.large_string())
        )
        instructions = pc.if_else(has, self.instructions, prefixed)
        return replace(self, instructions=instructions)

    def with_class_shards(self, tars: Collection[Path]) -> Catalog:
        """Returns the catalog with the samples of the shards `tars` as a task of their own, CLASS, none held out."""
        of_class = np.array([shard.tar in tars for shard in self.shards])[self.shard_id]
        tasks = tuple(sorted({*self.tasks, CLASS}))
        renumbered = np.array([tasks.index(task) for task in self.tasks], np.int16)[self.task_id]
        task_id = np.where(of_class, np.int16(tasks.index(CLASS)), renumbered)
        return replace(self, tasks=tasks, task_id=task_id, held_out=self.held_out & ~of_class)

    def sample_ref(self, number: int) -> SampleRef:
        """Returns sample `number`. Raises IndexError if there is none."""
        return self._table.sample_ref(number)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_table"}

    @cached_property
    def _table(self) -> SampleTable:
        tars = [shard.tar for shard in self.shards]
        return SampleTable(
            self.keys,
            self.instructions,
            self.tasks,
            self.task_id,
            tars,
            self.shard_id,
            self.images,
            self.first_image,
            self.mirrorable,
        )

    def reader(self) -> RangeReader:
        """Returns a reader of the shards' bytes, which uses the copies that the cache has or will have."""
        cache = self.cache
        return RangeReader({str(file.path): cache.path_of(file) for file in self.to_keep} if cache else None)

    def training_rows(self) -> dict[str, npt.NDArray[np.int64]]:
        """Returns, for every task, the numbers of the samples to train on."""
        return self._rows_by_task(~self.held_out)

    def validation_rows(self) -> dict[str, npt.NDArray[np.int64]]:
        """Returns, for every task, the numbers of the held-out samples."""
        return self._rows_by_task(self.held_out)

    def fingerprint(self) -> str:
        """Returns a hash of which samples there are, in which order, of which tasks, and which are held out."""
        digest = hashlib.blake2b(digest_size=8)
        parts = ("\n".join(self.tasks).encode(), self.task_id.tobytes(), self.held_out.tobytes())
        for part in (*parts, self.keys_digest.encode()):
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()

    def _rows_by_task(self, wanted: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.int64]]:
        return {name: np.flatnonzero(wanted & (self.task_id == i)) for i, name in enumerate(self.tasks)}


def open_cache(folder: str | None, limit: int | None) -> FileCache | None:
    """Returns the cache of copies in `folder` of `limit` bytes; None: those of the machine's cache. No cache for 0."""
    if limit == 0:
        return None
    machine = machine_cache()
    return FileCache(machine.folder if folder is None else Path(folder), machine.limit if limit is None else limit)


def task_weights(rows: Mapping[str, npt.NDArray[np.int64]], weights: Mapping[str, float] | None) -> dict[str, float]:
    """Returns a weight for every task of `rows`: as given, or, without any given, its number of samples.

    Raises UserError for a weight of a task that the shards do not hold, or a positive one of a task without samples.
    """
    if weights is None:
        return {task: float(len(numbers)) for task, numbers in rows.items()}
    for task, weight in weights.items():
        if task not in rows:
            near = difflib.get_close_matches(task, rows, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UserError(f"weights.{task}: the shards hold no such task{hint} They hold: {', '.join(rows)}")
        if weight > 0 and not len(rows[task]):
            raise UserError(f"weights.{task}: every sample of it is held out for validation; set its weight to 0")
    return {task: float(weights.get(task, 0.0)) for task in rows}


@dataclass(frozen=True)
class _Opened:
    """A shard that passed its checks. hashes: of its keys."""

    index: ShardIndex
    split: ShardSplit
    hashes: npt.NDArray[np.uint64]


class _Columns:
    """The columns of the shards seen so far."""

    def __init__(self) -> None:
        self.keys, self.instructions = text_column(), text_column()
        self.images, self.num_images, self.hashes, self.task_ids, self.mirrorable = (number_column() for _ in range(5))
        self.splits: list[ShardSplit] = []
        self.lengths: list[int] = []
        self._tasks: dict[str, int] = {}

    def add(self, opened: _Opened) -> None:
        index = opened.index
        self.keys.add(index.keys)
        self.instructions.add(index.instructions)
        self.images.add(index.images)
        self.num_images.add(index.num_images)
        self.mirrorable.add(index.mirrorable)
        self.hashes.add(opened.hashes)
        self.splits.append(opened.split)
        self.lengths.append(len(index))
        encoded = index.tasks.dictionary_encode()
        ids = [self._tasks.setdefault(name, len(self._tasks)) for name in encoded.dictionary.to_pylist()]
        self.task_ids.add(np.array(ids, np.int16)[encoded.indices.to_numpy()])

    def sorted_tasks(self) -> tuple[tuple[str, ...], npt.NDArray[np.int16]]:
        """Returns the tasks' names in order, and for every sample the index of its task."""
        names = sorted(self._tasks)
        rank = np.empty(len(names), np.int16)
        rank[[self._tasks[name] for name in names]] = np.arange(len(names))
        return tuple(names), rank[numbers(self.task_ids)]


def _open(found: FoundShard, cache: FileCache | None, fraction: float, split_seed: int) -> _Opened:
    index = _open_shard(found, cache)
    split = split_shard(index.uids, fraction, split_seed)
    if is_validation_shard(found.tar.path.name):  # `x2i materialize --part validation` made it to be held out
        split = replace(split, held_out=np.ones(len(index.uids), np.bool_))
    return _Opened(index, split, hash_texts(index.keys))


def _open_shard(found: FoundShard, cache: FileCache | None) -> ShardIndex:
    if found.index is None:
        return make_index(found, cache)
    name = str(found.index.path)
    if not found.is_remote:
        index = read_shard_index(found.index.path, name)
    else:
        copy = cache.fetch(found.index) if cache is not None else None
        if copy is None:
            with RangeReader() as reader:
                index = read_shard_index(reader.read(found.index.path, 0, found.index.size), name)
        else:
            index = read_shard_index(copy, name)
    require_matching_tar(found.tar.path, found.tar.size, index, name)
    return index


def _to_keep(found: Sequence[FoundShard], cache: FileCache | None) -> tuple[StoredFile, ...]:
    """Returns the tars on a store that the cache is to hold: the first ones, as many as fit beside all indexes."""
    indexes = sum(shard.index.size for shard in found if shard.is_remote and shard.index is not None)
    kept, room = [], cache.limit - indexes if cache is not None else 0
    for shard in found:
        if shard.is_remote and shard.tar.size <= room:
            kept.append(shard.tar)
            room -= shard.tar.size
    return tuple(kept)


def _require_unique_keys(
    found: Sequence[FoundShard], lengths: Sequence[int], hashes: npt.NDArray[np.uint64], cache: FileCache | None
) -> None:
    """Keys must be unique within a folder of shards; two datasets may use the same ones."""
    ends = np.cumsum(lengths)
    by_folder: dict[str, list[int]] = {}
    for number, shard in enumerate(found):
        by_folder.setdefault(str(shard.tar.path.parent), []).append(number)
    for shards in by_folder.values():
        chosen = np.concatenate([np.arange(ends[number] - lengths[number], ends[number]) for number in shards])
        rows = chosen[duplicates(hashes[chosen])]
        seen: dict[str, str] = {}
        for number in np.unique(np.searchsorted(ends, rows, side="right")).tolist():
            name = found[number].tar.path.with_suffix(INDEX_SUFFIX)
            keys = _open_shard(found[number], cache).keys
            for place in (rows[(rows < ends[number]) & (rows >= ends[number] - lengths[number])]).tolist():
                key = keys[place - int(ends[number]) + lengths[number]].as_py()
                if key in seen:
                    raise UserError(
                        f"{name}: duplicate key {key!r}, also in {seen[key]}: make one of the shards again, or "
                        f"move it away"
                    )
                seen[key] = name.name
