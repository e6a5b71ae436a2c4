"""Training shards cut anew: the same samples, byte for byte, in files of another size or in another order.

Every index row of the sources goes once through a DuckDB table on disk, which sorts it; rows then leave shard by shard.
So memory stays the same however many samples there are, and no image is read while planning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from x2i.errors import UserError
from x2i.seeding import stable_hash
from x2i.store import paths
from x2i.store.commits import file_digest, list_commits, list_stages
from x2i.store.files.atomic import write_table
from x2i.store.files.tar import HEADER_BYTES, TarShardWriter, read_range, tar_shard
from x2i.store.scratch_database import scratch_database
from x2i.store.shards import SHARD_SCHEMA, Shard, find_shards, shard_name
from x2i.store.verify.scan import scan_shard

if TYPE_CHECKING:
    import duckdb

RECORD_BYTES = 20 * HEADER_BYTES  # tar pads an archive to whole records
END_BYTES = 2 * HEADER_BYTES
READ_BYTES = 16 << 20
BATCH_ROWS = 10_000
MEMORY = "512MB"
COPY_SCHEMA = pa.schema([("source", pa.int32()), ("shard", pa.string()), *SHARD_SCHEMA])
"""A planned copy: which source and which of its shards the sample lies in, and its row in that shard's index."""


@dataclass(frozen=True)
class Cut:
    """Where a shard ends: at `samples` samples, or before its tar outgrows `max_bytes` (one sample always fits)."""

    samples: int
    max_bytes: int


def source_shards(source: Path) -> list[Shard]:
    """Returns the shards that `source` (a dataset, a folder of shards, or one .tar) names. Raises UserError if none."""
    if source.name.endswith(paths.SHARD_SUFFIX):
        if source.exists():
            return [Shard(source)]
        raise UserError(f"{source}: no such shard")
    shards = find_shards(source) if source.exists() else []
    if not shards:
        raise UserError(f"{source}: no training shards (*.tar) in it or in its folder shards/")
    return shards


def source_digests(source: Path) -> dict[str, str]:
    """Returns a digest of every shard of `source`, by name.

    A dataset's commits know the sums. Of a foreign shard the index and the tar's size are digested; without an index,
    the whole tar.
    """
    committed: dict[str, str] = {}
    if (source / paths.DATASET_FILE).exists():
        for stage in list_stages(source):
            for commit in list_commits(source, stage):
                committed |= {path: entry["sha256"] for path, entry in commit.outputs.items()}
    digests = {}
    for shard in source_shards(source):
        known = committed.get(f"shards/{shard.tar.name}")
        if known is None and shard.index_path.exists():
            known = f"{file_digest(shard.index_path)}-{shard.tar.stat().st_size}"
        digests[shard.name] = known or file_digest(shard.tar)
    return digests


def shard_batches(shard: Shard) -> Iterator[pa.Table]:
    """Yields the shard's index rows (SHARD_SCHEMA), rebuilt from the tar where a foreign shard has no index.

    Raises UserError if the shard is damaged or holds what is no sample.
    """
    if shard.index_path.exists():
        table = shard.index()
        lacking = [name for name in SHARD_SCHEMA.names if name not in table.column_names]
        if lacking:
            raise UserError(f"{shard.index_path}: lacks the fields {', '.join(lacking)}: it is not an index of samples")
        table = table.select(SHARD_SCHEMA.names).cast(SHARD_SCHEMA)
    else:
        scan = scan_shard(shard.tar)
        if scan.problems:
            raise UserError(f"{shard.tar}: {scan.problems[0]}: mend or leave out this shard; `x2i verify` names it all")
        table = pa.Table.from_pylist(scan.rows, schema=SHARD_SCHEMA)
    for start in range(0, table.num_rows, BATCH_ROWS):
        yield table.slice(start, BATCH_ROWS)


def plan_shards(
    sources: Sequence[Path], cut: Cut, shuffle_seed: int | None = None, tasks: Sequence[str] = ()
) -> Iterator[tuple[str, pa.Table]]:
    """Yields (shard name, rows to copy: COPY_SCHEMA) of every output shard, by name, in order.

    shuffle_seed: None keeps the order of the sources. With a seed, samples stand by the hash of (seed, key): the order
    is the same however the sources were cut. tasks: only these; () means all.
    A shard holds one task, one number of inputs and one set of image formats.
    Raises UserError if nothing is there, a task is not, or two samples have one key.
    """
    with _sorted_rows(sources, shuffle_seed, tasks) as batches:
        numbers: dict[tuple[str, int], int] = {}
        for rows in _divided(batches, cut):
            group = (rows[0]["task"], rows[0]["num_inputs"])
            number = numbers.get(group, 0)
            numbers[group] = number + 1
            yield shard_name(*group, number), pa.Table.from_pylist(rows, schema=COPY_SCHEMA)


def copy_samples(root: Path, name: str, tars: Mapping[tuple[int, str], Path], rows: pa.Table) -> None:
    """Writes training shard `name` of the dataset at `root`: the samples of `rows` (COPY_SCHEMA), members unchanged.

    tars: the tar of every (source, shard) that the rows name.
    """
    written: list[dict[str, Any]] = []
    with tar_shard(paths.shard_tar(root, name)) as tar:
        for row, members in read_members(rows.to_pylist(), tars):
            written.append(add_copy(tar, row, members))
    write_table(paths.shard_index(root, name), pa.Table.from_pylist(written, schema=SHARD_SCHEMA))


def add_copy(tar: TarShardWriter, row: Mapping[str, Any], members: Mapping[str, bytes]) -> dict[str, Any]:
    """Appends one sample's members as they are; returns its index row (SHARD_SCHEMA), with the places they have now."""
    places = tar.add(row["key"], members)
    kept = {name: row[name] for name in SHARD_SCHEMA.names}
    return kept | {
        "json_offset": places["json"].offset,
        "image_offsets": [places[name].offset for name in row["image_names"]],
    }


def read_members(
    rows: Sequence[Mapping[str, Any]], tars: Mapping[tuple[int, str], Path]
) -> Iterator[tuple[Mapping[str, Any], dict[str, bytes]]]:
    """Yields every row with its members by suffix ("json", "output.jpg", ...), in the order of `rows`.

    Samples that lie side by side are read together, up to READ_BYTES at once. Raises UserError if a tar is too short.
    """
    at = 0
    while at < len(rows):
        place = (rows[at]["source"], rows[at]["shard"])
        start, end = _span(rows[at])
        stop = at + 1
        while stop < len(rows) and (rows[stop]["source"], rows[stop]["shard"]) == place:
            first, last = _span(rows[stop])
            if not end <= first <= end + 2 * HEADER_BYTES or last - start > READ_BYTES:
                break
            end, stop = last, stop + 1
        data = read_range(tars[place], start, end - start)
        for row in rows[at:stop]:
            yield row, {name: data[offset - start : offset - start + size] for name, offset, size in _places(row)}
        at = stop


def archive_bytes(row: Mapping[str, Any]) -> int:
    """Returns how many bytes of a tar the sample of an index row takes, headers and padding included."""
    return sum(HEADER_BYTES + -(-size // HEADER_BYTES) * HEADER_BYTES for _, _, size in _places(row))


def _places(row: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    yield "json", row["json_offset"], row["json_size"]
    yield from zip(row["image_names"], row["image_offsets"], row["image_bytes"])


def _span(row: Mapping[str, Any]) -> tuple[int, int]:
    ends = [(offset, offset + -(-size // HEADER_BYTES) * HEADER_BYTES) for _, offset, size in _places(row)]
    return min(start for start, _ in ends), max(end for _, end in ends)


def _divided(batches: Iterator[pa.RecordBatch], cut: Cut) -> Iterator[list[dict[str, Any]]]:
    held: list[dict[str, Any]] = []
    size, kind = END_BYTES, None
    for batch in batches:
        for row in batch.to_pylist():
            needed = archive_bytes(row)
            of_kind = (row["task"], row["num_inputs"], row["image_names"])
            padded = -(-(size + needed) // RECORD_BYTES) * RECORD_BYTES
            if held and (of_kind != kind or len(held) >= cut.samples or padded > cut.max_bytes):
                yield held
                held, size = [], END_BYTES
            kind = of_kind
            held.append(row)
            size += needed
    if held:
        yield held


@contextmanager
def _sorted_rows(
    sources: Sequence[Path], shuffle_seed: int | None, tasks: Sequence[str]
) -> Iterator[Iterator[pa.RecordBatch]]:
    with scratch_database(MEMORY) as connection:
        _load(connection, sources, shuffle_seed)
        _require_tasks(connection, sources, tasks)
        _require_unique_keys(connection, sources)
        wanted = f"WHERE task IN ({', '.join('?' for _ in tasks)})" if tasks else ""
        found = connection.sql(
            f"SELECT {', '.join(COPY_SCHEMA.names)} FROM rows {wanted} "
            "ORDER BY task, num_inputs, image_names, place, key",
            params=list(tasks),
        )
        yield iter(found.to_arrow_reader(BATCH_ROWS))


def _load(connection: duckdb.DuckDBPyConnection, sources: Sequence[Path], shuffle_seed: int | None) -> None:
    connection.execute("SET preserve_insertion_order = false")
    schema = pa.schema([*COPY_SCHEMA, ("place", pa.uint64())])
    connection.register("nothing", schema.empty_table())
    connection.execute("CREATE TABLE rows AS SELECT * FROM nothing")
    place = 0
    for source, folder in enumerate(sources):
        for shard in source_shards(folder):
            for table in shard_batches(shard):
                count = table.num_rows
                if shuffle_seed is None:
                    places = list(range(place, place + count))
                else:
                    places = [stable_hash("reshard", shuffle_seed, key) for key in table["key"].to_pylist()]
                place += count
                head = [pa.array([source] * count, pa.int32()), pa.array([shard.name] * count, pa.string())]
                arrays = [*head, *table.columns, pa.array(places, pa.uint64())]
                connection.register("batch", pa.Table.from_arrays(arrays, schema=schema))
                connection.execute("INSERT INTO rows SELECT * FROM batch")
                connection.unregister("batch")


def _require_tasks(connection: duckdb.DuckDBPyConnection, sources: Sequence[Path], tasks: Sequence[str]) -> None:
    there = [row[0] for row in connection.execute("SELECT DISTINCT task FROM rows ORDER BY 1").fetchall()]
    absent = [task for task in tasks if task not in there]
    if absent or not there:
        shown = ", ".join(str(source) for source in sources)
        raise UserError(f"{shown}: no samples of task {absent[0] if absent else '?'}; there are: {there or 'none'}")


def _require_unique_keys(connection: duckdb.DuckDBPyConnection, sources: Sequence[Path]) -> None:
    twice = connection.execute(
        "SELECT key, list(source ORDER BY source, shard), list(shard ORDER BY source, shard) "
        "FROM rows GROUP BY key HAVING count(*) > 1 ORDER BY key LIMIT 1"
    ).fetchone()
    if twice:
        key, numbers, names = twice
        raise UserError(
            f"duplicate key {key!r}: in {names[0]} of {sources[numbers[0]]} and in {names[1]} of "
            f"{sources[numbers[1]]}. Keys must be unique in one dataset; reshard the sources apart: the trainer reads "
            f"several datasets at once"
        )
