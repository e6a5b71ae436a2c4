"""What the trainer knows of its shards without reading their samples: the Parquet indexes, checked, held as columns."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnigen.data.foreign import foreign_index
from omnigen.data.held_out import ShardSplit, held_out_uids, join_splits, split_shard
from omnigen.data.shard_check import require_matching_tar
from omnigen.data.shard_index import IMAGE, ShardIndex, read_shard_index
from omnigen.data.shard_set import FoundShard, find_shard_set
from omnigen.data.unique_keys import doubled, first_repeated, hash_texts
from x2i.errors import UserError
from x2i.store.file_cache import FileCache, StoredFile
from x2i.store.reading import RangeReader
from x2i.store.remote import cache_folder
from x2i.store.shards import Shard

__all__ = ["Catalog", "Row", "held_out_uids", "open_cache", "task_weights"]
OPENED_AT_A_TIME = {False: 4, True: 32}  # shards, by whether they lie on a store; there, waiting is all the work


@dataclass(frozen=True)
class Row:
    """One sample of the catalog: what it takes to read it, without its pixels.

    tar: where the shard lies, a path or a URL's. images: (byte offset, byte count, width, height) of every input in
    placeholder order, then of the output.
    """

    key: str
    task: str
    instruction: str
    tar: Path
    images: tuple[tuple[int, int, int, int], ...]

    @property
    def num_inputs(self) -> int:
        return len(self.images) - 1


@dataclass(frozen=True)
class Catalog:
    """The samples of some shards, in the order of the shards' names.

    tasks: names in sorted order; task_id: int16 per sample, an index into it. shard_id: int32, an index into `shards`.
    held_out: bool per sample; True: for validation only. keys, instructions: large strings per sample.
    images: IMAGE of every sample's inputs and output, sample after sample; those of sample i are
    [first_image[i], first_image[i + 1]), int64. to_keep: the tars on a store that fit into the cache together.
    """

    shards: tuple[Shard, ...]
    tasks: tuple[str, ...]
    task_id: npt.NDArray[np.int16]
    shard_id: npt.NDArray[np.int32]
    held_out: npt.NDArray[np.bool_]
    keys: pa.LargeStringArray
    instructions: pa.LargeStringArray
    images: npt.NDArray[np.void]
    first_image: npt.NDArray[np.int64]
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

        A sample is held out if any photograph it comes from is; `held_out_uids` says which are. cache: where the
        indexes of shards on a store, and the made indexes of foreign shards, are kept; these need one.
        Raises UserError naming the file and the remedy if there are no shards, an index is missing, unreadable or lacks
        a column, a tar is missing, truncated, not the one its index describes or not harmless, or a key stands twice.
        """
        found = find_shard_set(paths)

        def opened(shard: FoundShard) -> tuple[ShardIndex, ShardSplit, npt.NDArray[np.uint64]]:
            index = _open_shard(shard, cache)
            return index, split_shard(index.uids, validation_fraction, split_seed), hash_texts(index.keys)

        with ThreadPoolExecutor(OPENED_AT_A_TIME[any(shard.is_remote for shard in found)]) as pool:
            pieces, splits, hashes = (list(column) for column in zip(*pool.map(opened, found)))
        _require_unique_keys(found, pieces, hashes)
        tasks, task_id = _task_ids(pieces)
        counts = np.concatenate([piece.num_images for piece in pieces])
        return cls(
            shards=tuple(shard.shard for shard in found),
            tasks=tasks,
            task_id=task_id,
            shard_id=np.repeat(np.arange(len(found), dtype=np.int32), [len(piece) for piece in pieces]),
            held_out=join_splits(splits, validation_fraction),
            keys=pa.concat_arrays([piece.keys for piece in pieces]),
            instructions=pa.concat_arrays([piece.instructions for piece in pieces]),
            images=np.concatenate([piece.images for piece in pieces], dtype=IMAGE),
            first_image=np.concatenate([[0], counts.cumsum(dtype=np.int64)]),
            cache=cache,
            to_keep=_to_keep(found, cache),
        )

    def __len__(self) -> int:
        return len(self.task_id)

    def row(self, number: int) -> Row:
        """Returns sample `number`."""
        first, end = self.first_image[number : number + 2]
        return Row(
            key=self.keys[number].as_py(),
            task=self.tasks[self.task_id[number]],
            instruction=self.instructions[number].as_py(),
            tar=self.shards[self.shard_id[number]].tar,
            images=tuple(self.images[first:end].tolist()),
        )

    def reader(self) -> RangeReader:
        """Returns a reader of the shards' bytes, which uses the copies that the cache has or will have."""
        cache = self.cache
        return RangeReader({str(file.path): cache.place(file) for file in self.to_keep} if cache else None)

    def training_rows(self) -> dict[str, npt.NDArray[np.int64]]:
        """Returns, for every task, the numbers of the samples to train on."""
        return self._rows_by_task(~self.held_out)

    def validation_rows(self) -> dict[str, npt.NDArray[np.int64]]:
        """Returns, for every task, the numbers of the held-out samples."""
        return self._rows_by_task(self.held_out)

    def fingerprint(self) -> str:
        """Returns a hash of which samples there are, in which order, of which tasks, and which are held out."""
        digest = hashlib.blake2b(digest_size=8)
        for part in ("\n".join(self.tasks).encode(), self.task_id.tobytes(), self.held_out.tobytes()):
            digest.update(len(part).to_bytes(8, "little") + part)
        digest.update(hash_texts(self.keys).tobytes())
        return digest.hexdigest()

    def _rows_by_task(self, wanted: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.int64]]:
        return {name: np.flatnonzero(wanted & (self.task_id == i)) for i, name in enumerate(self.tasks)}


def open_cache(folder: str | None, limit: int) -> FileCache | None:
    """Returns the cache of copies in `folder` (by default one for temporary files) of `limit` bytes; None for 0."""
    if not limit:
        return None
    return FileCache(Path(folder) if folder is not None else cache_folder() / "shards", limit)


def task_weights(rows: Mapping[str, npt.NDArray[np.int64]], weights: Mapping[str, float] | None) -> dict[str, float]:
    """Returns a weight for every task of `rows`: as given, or, without any given, its number of samples.

    Raises UserError for a weight of a task that the shards do not hold, or a positive one of a task without samples.
    """
    if weights is None:
        return {task: float(len(numbers)) for task, numbers in rows.items()}
    for task, weight in weights.items():
        if task not in rows:
            near = difflib.get_close_matches(task, rows, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"data.weights.{task}: the shards hold no such task{hint} They hold: {', '.join(rows)}")
        if weight > 0 and not len(rows[task]):
            raise UserError(f"data.weights.{task}: every sample of it is held out for validation; set its weight to 0")
    return {task: float(weights.get(task, 0.0)) for task in rows}


def _open_shard(found: FoundShard, cache: FileCache | None) -> ShardIndex:
    if found.index is None:
        return foreign_index(found, cache)
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


def _to_keep(found: Iterable[FoundShard], cache: FileCache | None) -> tuple[StoredFile, ...]:
    """Returns the tars on a store that the cache is to hold: the first ones, as many as its limit lets it keep."""
    kept, room = [], cache.limit if cache is not None else 0
    for shard in found:
        if shard.is_remote and shard.tar.size <= room:
            kept.append(shard.tar)
            room -= shard.tar.size
    return tuple(kept)


def _task_ids(pieces: Sequence[ShardIndex]) -> tuple[tuple[str, ...], npt.NDArray[np.int16]]:
    encoded = [piece.tasks.dictionary_encode() for piece in pieces]
    names = sorted({name for piece in encoded for name in piece.dictionary.to_pylist()})
    rank = {name: number for number, name in enumerate(names)}
    ids = [
        np.array([rank[name] for name in piece.dictionary.to_pylist()], np.int16)[piece.indices.to_numpy()]
        for piece in encoded
    ]
    return tuple(names), np.concatenate(ids)


def _require_unique_keys(
    found: Sequence[FoundShard], pieces: Sequence[ShardIndex], hashes: Sequence[npt.NDArray[np.uint64]]
) -> None:
    """Keys must be unique within a folder of shards; two datasets may use the same ones."""
    by_folder: dict[str, list[int]] = {}
    for number, shard in enumerate(found):
        by_folder.setdefault(str(shard.tar.path.parent), []).append(number)
    for numbers in by_folder.values():
        places = doubled(np.concatenate([hashes[number] for number in numbers]))
        if not len(places):
            continue
        ends = np.cumsum([len(pieces[number]) for number in numbers])
        homes = np.searchsorted(ends, places, side="right")
        where = {int(place): numbers[home] for place, home in zip(places, homes)}
        starts = {number: int(end) - len(pieces[number]) for number, end in zip(numbers, ends)}
        keys = {place: pieces[home].keys[place - starts[home]].as_py() for place, home in where.items()}
        if repeated := first_repeated(keys):
            first, second = repeated
            here, there = (found[where[place]].tar.path.with_suffix(".parquet") for place in (second, first))
            raise UserError(
                f"{here}: key {keys[second]!r} stands twice, also in {there.name}: make one of the shards again, or "
                f"move it away"
            )
