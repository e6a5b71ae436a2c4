"""Rewriting one file without what is taken down. Each function can be run again on its own result, or on half of it.

A process may die between a tar and its index. So places are always taken from the tar as it is, never from the index.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from x2i.errors import UserError
from x2i.reasons import Status
from x2i.store import paths
from x2i.store.files.atomic import read_table, write_table
from x2i.store.files.tar import Member, list_members, read_range, tar_shard
from x2i.store.images import extension, read_image_index, record_from_row, records_to_table
from x2i.store.shards import Shard
from x2i.takedown.redact import blank_record

REFERENCES = ("key", "key_a", "key_b", "images", "uid", "uids")
"""The fields of columns, relations and plans that say which images a row is about."""


def rewrite_images(root: Path, partition: str, keys: Collection[str]) -> bool:
    """Removes images from a partition of the store; their rows stay, emptied. Returns whether anything changed.

    The result is what a crawl would have written that had not been allowed to fetch them. Raises UserError if the tar
    is damaged or lacks a stored image.
    """
    gone = frozenset(keys)
    index, tar = paths.image_index(root, partition), paths.image_tar(root, partition)
    if not (index.exists() and tar.exists()):
        # A crawl was killed between the two: nothing is committed, and it writes both anew.
        existed = index.exists() or tar.exists()
        index.unlink(missing_ok=True)
        tar.unlink(missing_ok=True)
        return existed
    table = read_image_index(root, partition)
    records = [record_from_row(row) for row in table.to_pylist()]
    members = {member.name: member for member in list_members(tar)}
    stored = {r.key: f"{r.key}.{extension(r.format)}" for r in records if r.status is Status.OK and r.key not in gone}
    missing = sorted(set(stored.values()) - set(members))
    if missing:
        raise UserError(
            f"{tar}: lacks the stored image {missing[0]}: the store is damaged; run `x2i verify` and mend it"
        )
    if len(members) > len(stored):
        with tar_shard(tar) as writer:
            for key, name in stored.items():
                member = members[name]
                writer.add(key, {member.suffix: read_range(tar, member.offset, member.size)})
        members = {member.name: member for member in list_members(tar)}
    rewritten = []
    for record in records:
        if record.key in gone:
            rewritten.append(blank_record(record))
        elif record.key in stored:
            member = members[stored[record.key]]
            rewritten.append(replace(record, offset=member.offset, size=member.size))
        else:
            rewritten.append(record)
    changed = records_to_table(rewritten)
    return _write_if_changed(index, table, changed)


def rewrite_shard(shard: Shard, keys: Collection[str]) -> bool:
    """Removes samples from a training shard, and the shard itself if none is left. Returns whether anything changed."""
    gone = frozenset(keys)
    if not shard.tar.exists():
        existed = shard.index_path.exists()
        shard.index_path.unlink(missing_ok=True)
        return existed
    members = list_members(shard.tar)
    kept = [member for member in members if member.key not in gone]
    if not kept:
        shard.tar.unlink()
        shard.index_path.unlink(missing_ok=True)
        return True
    if len(kept) < len(members):
        with tar_shard(shard.tar) as writer:
            for key, group in groupby(kept, key=lambda member: member.key):
                writer.add(key, {m.suffix: read_range(shard.tar, m.offset, m.size) for m in group})
        kept = list_members(shard.tar)
    if not shard.index_path.exists():
        return len(kept) < len(members)
    table = shard.index()
    places = {member.name: member for member in kept}
    rows = [_placed(row, places) for row in table.to_pylist() if row["key"] not in gone]
    return _write_if_changed(shard.index_path, table, pa.Table.from_pylist(rows, schema=table.schema))


def rewrite_rows(path: Path, keys: Collection[str], uids: Collection[str]) -> bool:
    """Drops the rows of a column or relation that are about any of these images. Returns whether anything changed."""
    table = read_table(path)
    return _write_if_changed(path, table, table.filter(pc.invert(rows_about(table, keys, uids))))


def rows_about(table: pa.Table, keys: Collection[str], uids: Collection[str]) -> pa.Array:
    """Returns, for each row, whether one of its REFERENCES, or one element of it, is among `keys` or `uids`."""
    hit = pa.array([False] * table.num_rows, pa.bool_())
    for name in REFERENCES:
        if name not in table.column_names:
            continue
        values = pa.array(sorted(uids if name.startswith("uid") else keys), pa.string())
        column = table[name].combine_chunks()
        if pa.types.is_list(column.type):
            parents = pc.list_parent_indices(column)
            rows = pc.unique(parents.filter(pc.is_in(pc.list_flatten(column), values)))
            hit = pc.or_(hit, pc.is_in(pa.array(range(table.num_rows), parents.type), rows))
        elif pa.types.is_string(column.type):
            hit = pc.or_(hit, pc.is_in(column, values))
    return hit


def _write_if_changed(path: Path, before: pa.Table, after: pa.Table) -> bool:
    if after.equals(before):
        return False
    write_table(path, after.combine_chunks())
    return True


def _placed(row: dict[str, Any], places: dict[str, Member]) -> dict[str, Any]:
    """Returns an index row with the places that its members have in the tar."""
    images = [places[f"{row['key']}.{name}"].offset for name in row["image_names"]]
    return {**row, "json_offset": places[f"{row['key']}.json"].offset, "image_offsets": images}
