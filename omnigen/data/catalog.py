"""What the trainer knows of its shards without reading their samples: the Parquet indexes, checked, held as columns."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from x2i.errors import UserError
from x2i.seeding import stable_hash, unit_interval
from x2i.store.paths import INDEX_SUFFIX, SHARD_SUFFIX
from x2i.store.shards import SHARD_SCHEMA, Shard, find_shards

HEADER_BYTES = 512
END_OF_ARCHIVE_BYTES = 1024
COLUMNS = [
    "key",
    "task",
    "instruction",
    "image_sizes",
    "json_offset",
    "json_size",
    "image_offsets",
    "image_bytes",
    "uids",
]


@dataclass(frozen=True)
class Row:
    """One sample of the catalog: what it takes to read it, without its pixels.

    images: (byte offset, byte count, width, height) of every input in placeholder order, then of the output.
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
    held_out: bool per sample; True: for validation only. table: the index columns (COLUMNS).
    """

    shards: tuple[Shard, ...]
    tasks: tuple[str, ...]
    task_id: npt.NDArray[np.int16]
    shard_id: npt.NDArray[np.int32]
    held_out: npt.NDArray[np.bool_]
    table: pa.Table

    @classmethod
    def open(cls, paths: Sequence[Path], validation_fraction: float = 0.0, split_seed: int = 0) -> Catalog:
        """Reads and checks the shards under `paths` (dataset folders, or folders of shards).

        A sample is held out if any photograph it comes from is; `held_out_uids` says which are.
        Raises UserError naming the file if there are no shards, an index is missing, unreadable or lacks a column, a
        tar is missing, shorter than its index says or not the one its index describes, or a key stands twice.
        """
        shards = _shards(paths)
        tables = [_read_index(shard) for shard in shards]
        for shard, part in zip(shards, tables):
            _require_matching_tar(shard, part)
        _require_unique_keys(shards, tables)
        table = pa.concat_tables(tables).combine_chunks()
        shard_id = np.repeat(np.arange(len(shards), dtype=np.int32), [part.num_rows for part in tables])
        encoded = pc.dictionary_encode(table.column("task")).combine_chunks()
        names = encoded.dictionary.to_pylist()
        tasks = tuple(sorted(names))
        rank = np.array([tasks.index(name) for name in names], dtype=np.int16)
        task_id = rank[encoded.indices.to_numpy(zero_copy_only=False)]
        held_out = _held_out_rows(table.column("uids"), validation_fraction, split_seed)
        return cls(shards, tasks, task_id, shard_id, held_out, table.drop_columns(["task", "uids"]))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def row(self, number: int) -> Row:
        """Returns sample `number`."""
        values: dict[str, Any] = {name: self.table.column(name)[number].as_py() for name in self.table.column_names}
        places = zip(values["image_offsets"], values["image_bytes"], values["image_sizes"])
        return Row(
            key=values["key"],
            task=self.tasks[self.task_id[number]],
            instruction=values["instruction"],
            tar=self.shards[self.shard_id[number]].tar,
            images=tuple((offset, count, width, height) for offset, count, (width, height) in places),
        )

    def training_rows(self) -> dict[str, npt.NDArray[np.int64]]:
        """Returns, for every task, the numbers of the samples to train on."""
        return self._rows_by_task(~self.held_out)

    def validation_rows(self) -> dict[str, npt.NDArray[np.int64]]:
        """Returns, for every task, the numbers of the held-out samples."""
        return self._rows_by_task(self.held_out)

    def fingerprint(self) -> str:
        """Returns a hash of which samples there are, in which order, and which are held out."""
        digest = [stable_hash(*self.table.column("key").to_pylist()), stable_hash(self.held_out.tobytes().hex())]
        digest.append(stable_hash(*(f"{name}" for name in self.tasks), self.task_id.tobytes().hex()))
        return f"{stable_hash(*digest):016x}"

    def _rows_by_task(self, wanted: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.int64]]:
        return {name: np.flatnonzero(wanted & (self.task_id == i)) for i, name in enumerate(self.tasks)}


def held_out_uids(uids: Iterable[str], fraction: float, split_seed: int) -> frozenset[str]:
    """Returns the photographs kept from training: those whose hash falls below `fraction`, and at least one.

    A photograph's fate depends on its uid and the seed alone (but for the at-least-one rule of very small datasets), so
    adding data never moves a photograph from one side to the other.
    """
    draws = {uid: unit_interval(uid, "validation", split_seed) for uid in uids}
    if fraction <= 0 or not draws:
        return frozenset()
    return frozenset(uid for uid, value in draws.items() if value < fraction) or frozenset(
        {min(draws, key=draws.__getitem__)}
    )


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


def _shards(paths: Sequence[Path]) -> tuple[Shard, ...]:
    found: list[Shard] = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"data.shards: {path}: no such folder; give a dataset folder or a folder of shards")
        here = find_shards(path)
        if not here:
            raise UserError(f"data.shards: {path}: no training shards (*.tar) in it or in its folder shards/")
        found.extend(here)
    if not found:
        raise UserError("data.shards: none given; expected at least one dataset folder")
    tars: set[Path] = set()
    for shard in found:
        if shard.tar.resolve() in tars:
            raise UserError(f"data.shards: {shard.tar} is listed twice")
        tars.add(shard.tar.resolve())
    for folder in {tar.parent for tar in tars}:
        for index in sorted(folder.glob(f"*{INDEX_SUFFIX}")):
            if index.with_suffix(SHARD_SUFFIX) not in tars:
                raise UserError(f"{index.with_suffix(SHARD_SUFFIX)}: missing, though its index {index.name} is there")
    return tuple(found)


def _read_index(shard: Shard) -> pa.Table:
    if not shard.index_path.is_file():
        raise UserError(f"{shard.index_path}: missing: {shard.tar.name} has no index; the shard was not finished")
    try:
        table = shard.index()
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{shard.index_path}: not a readable Parquet file: {error}") from error
    for name in COLUMNS:
        if name not in table.column_names or table.schema.field(name).type != SHARD_SCHEMA.field(name).type:
            found = table.schema.field(name).type if name in table.column_names else "nothing"
            raise UserError(
                f"{shard.index_path}: column {name}: expected {SHARD_SCHEMA.field(name).type}, found {found}"
            )
    return table.select(COLUMNS).cast(pa.schema([SHARD_SCHEMA.field(name) for name in COLUMNS]))


def _require_matching_tar(shard: Shard, table: pa.Table) -> None:
    """Checks the tar's length and, at both ends, that a member's header stands where the index says."""
    if not table.num_rows:
        return
    offsets, sizes = (pc.list_flatten(table.column(name)).to_numpy() for name in ("image_offsets", "image_bytes"))
    starts = np.concatenate([table.column("json_offset").to_numpy(), offsets])
    ends = starts + np.concatenate([table.column("json_size").to_numpy(), sizes])
    needed = -(-int(ends.max()) // HEADER_BYTES) * HEADER_BYTES + END_OF_ARCHIVE_BYTES
    found = shard.tar.stat().st_size
    if starts.min() < HEADER_BYTES or found < needed:
        raise UserError(
            f"{shard.tar}: {found} bytes, its index needs {needed}: the file is truncated. Copy it again, or rebuild it"
        )
    descriptor = os.open(shard.tar, os.O_RDONLY)
    try:
        for number in (0, table.num_rows - 1):
            offset, key = (table.column(name)[number].as_py() for name in ("json_offset", "key"))
            header = os.pread(descriptor, HEADER_BYTES, offset - HEADER_BYTES)
            name = header[:100].rstrip(b"\0").decode(errors="replace")
            if name != f"{key}.json":
                raise UserError(
                    f"{shard.tar}: found {name!r} where its index {shard.index_path.name} has {key + '.json'!r}: "
                    f"tar and index are not of one making"
                )
    finally:
        os.close(descriptor)


def _require_unique_keys(shards: Sequence[Shard], tables: Sequence[pa.Table]) -> None:
    """Keys must be unique within a folder of shards; two datasets may use the same ones."""
    by_folder: dict[Path, list[int]] = {}
    for number, shard in enumerate(shards):
        by_folder.setdefault(shard.tar.parent.resolve(), []).append(number)
    for numbers in by_folder.values():
        keys = pa.concat_tables([tables[number].select(["key"]) for number in numbers]).column("key")
        if pc.count_distinct(keys).as_py() == len(keys):
            continue
        seen: dict[str, Path] = {}
        for number in numbers:
            for key in tables[number].column("key").to_pylist():
                if key in seen:
                    raise UserError(f"{shards[number].index_path}: key {key!r} stands twice, also in {seen[key].name}")
                seen[key] = shards[number].index_path


def _held_out_rows(uids: pa.ChunkedArray, fraction: float, split_seed: int) -> npt.NDArray[np.bool_]:
    lists = uids.combine_chunks()
    flat = lists.flatten()
    chosen = held_out_uids(flat.unique().to_pylist(), fraction, split_seed)
    hit = pc.is_in(flat, value_set=pa.array(sorted(chosen), pa.string())).to_numpy(zero_copy_only=False)
    rows = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    held_out = np.zeros(len(lists), dtype=np.bool_)
    held_out[rows[hit]] = True
    return held_out
