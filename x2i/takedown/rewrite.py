"""Image partitions and shards without what is taken down; each function can be run again on what it left.

A process may die between a tar and its index. So places are always taken from the tar as it is, never from the index.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from x2i.errors import RunError
from x2i.reasons import Status
from x2i.store import paths
from x2i.store.files.atomic import write_table
from x2i.store.files.tar import Member, list_members, read_range, tar_shard
from x2i.store.images import extension, read_image_index, record_from_row, records_to_table
from x2i.store.shards import Shard
from x2i.takedown.redact import redacted_record


def rewrite_images(root: Path, partition: str, keys: Collection[str]) -> bool:
    """Removes images from a partition of the store; their rows stay, emptied. Returns whether anything changed.

    The result is what a crawl would have written that had not been allowed to fetch them. Raises RunError if the tar
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
        raise RunError(
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
            record = redacted_record(record)
        elif record.key in stored:
            member = members[stored[record.key]]
            record = replace(record, data_offset=member.offset, data_size=member.size)
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


def _write_if_changed(path: Path, before: pa.Table, after: pa.Table) -> bool:
    if after.equals(before):
        return False
    write_table(path, after.combine_chunks())
    return True


def _placed(row: dict[str, Any], places: dict[str, Member]) -> dict[str, Any]:
    """Returns an index row with the places that its members have in the tar."""
    images = [places[f"{row['key']}.{name}"].offset for name in row["image_names"]]
    return {**row, "json_offset": places[f"{row['key']}.json"].offset, "image_offsets": images}
