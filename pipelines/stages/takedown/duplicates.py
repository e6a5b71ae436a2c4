"""The relation `duplicates` after a takedown: what `x2i dedup` would find among the images that stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.commands.dedup import DUPLICATES_SCHEMA, find_duplicates
from x2i.store import paths
from x2i.store.commits import list_commits
from x2i.store.files.atomic import read_table, write_table
from x2i.store.images import IMAGE_SCHEMA, read_image_index

_HASHES = ["key", "sha256", "phash", "width", "height"]


def rewrite_duplicates(root: Path, keys: frozenset[str]) -> None:
    """Removes `keys` and judges again the clusters they were in; no other cluster can change.

    A cluster is what links hold together. Without one image it may fall apart, or keep another image than before.
    """
    path = paths.relation_file(root, "duplicates")
    if not path.exists():
        return
    table = read_table(path)
    gone = pc.is_in(table["key"].combine_chunks(), pa.array(sorted(keys), pa.string()))
    clusters = pc.unique(table["cluster"].combine_chunks().filter(gone))
    if not len(clusters) or not table.schema.equals(DUPLICATES_SCHEMA):
        return
    broken = pc.is_in(table["cluster"].combine_chunks(), clusters)
    again = pc.and_not(broken, gone)
    judged = find_duplicates(_hashes(root, table["key"].combine_chunks().filter(again).to_pylist()), _distance(root))
    places = np.concatenate([np.nonzero(~_numpy(broken))[0], np.nonzero(_numpy(again))[0]])
    both = pa.concat_tables([table.filter(pc.invert(broken)), judged])
    write_table(path, both.take(pa.array(np.argsort(places, kind="stable"))).combine_chunks())


def _hashes(root: Path, keys: list[str]) -> pa.Table:
    """Returns what `find_duplicates` needs of these images, in the order of `keys`."""
    tables = []
    wanted = pa.array(keys, pa.string())
    for partition in sorted({paths.image_partition(key) for key in keys}):
        index = read_image_index(root, partition, _HASHES)
        tables.append(index.filter(pc.is_in(index["key"], wanted)))
    found = pa.concat_tables(tables).combine_chunks() if tables else IMAGE_SCHEMA.empty_table().select(_HASHES)
    return found.take(pc.index_in(wanted, found["key"].combine_chunks()))


def _distance(root: Path) -> int:
    return next((int(commit.config["max_distance"]) for commit in list_commits(root, "dedup")), 0)


def _numpy(mask: pa.Array) -> np.ndarray:
    return np.asarray(mask.to_numpy(zero_copy_only=False), bool)
