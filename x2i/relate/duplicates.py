"""Duplicates: images with equal bytes or near perceptual hashes, and which image of each group to keep."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation
from x2i.store.commits import Counts
from x2i.store.images import read_image_index
from x2i.store.paths import image_partition
from x2i.tables import TableSpec

if TYPE_CHECKING:
    from x2i.store import Dataset

HASHES = ("key", "sha256", "phash", "width", "height")
"""The fields of the image index that duplicates are found by."""


@dataclass(frozen=True)
class Duplicates(Relation):
    """One row per stored image, in key order, with the image to keep in its place."""

    max_distance: Annotated[
        int, Option("How many bits of the 64-bit perceptual hash two copies may differ in.", ge=0, le=15)
    ] = 6

    spec = TableSpec(
        name="duplicates",
        title="no duplicate",
        made_by="dedup",
        schema=pa.schema(
            [
                ("key", pa.string()),
                ("cluster", pa.string()),  # key of the kept representative
                ("is_duplicate", pa.bool_()),
                ("kind", pa.string()),  # "exact": its representative's bytes; "near": looks like it; "": no duplicate
                ("distance", pa.int32()),  # of the phashes, to the representative; may exceed max_distance in a chain
            ]
        ),
        kind="relation",
        image_keys=("key", "cluster"),
        kept="NOT is_duplicate",
    )

    def find(self, images: pa.Table) -> pa.Table:
        """Returns the rows for `images` (the fields HASHES), in the order given.

        Images linked by equal bytes or by a phash distance of at most max_distance, directly or through others, form a
        group. Its representative is the one with the most pixels, the first key if several have.
        """
        from x2i.relate.exact import exact_pairs
        from x2i.relate.near import clusters, hamming_distances, near_pairs

        keys = np.array(images["key"].to_pylist(), dtype=object)
        digests = np.array(images["sha256"].to_pylist(), dtype=object)
        hashes = images["phash"].to_numpy().astype(np.uint64)
        pixels = images["width"].to_numpy().astype(np.int64) * images["height"].to_numpy()
        pairs_P2 = np.concatenate([exact_pairs(digests.tolist()), near_pairs(hashes, self.max_distance)])
        group = clusters(len(keys), pairs_P2)
        order = np.lexsort((np.argsort(np.argsort(keys)), -pixels, group))
        best = {int(group[row]): int(row) for row in order[::-1]}
        kept = np.array([best[int(g)] for g in group], dtype=np.int64)
        is_duplicate = kept != np.arange(len(keys))
        kind = np.where(is_duplicate, np.where(digests == digests[kept], "exact", "near"), "")
        distance = hamming_distances(hashes, hashes[kept])
        columns = [keys.tolist(), keys[kept].tolist(), is_duplicate.tolist(), kind.tolist(), distance.tolist()]
        return pa.table(columns, schema=self.spec.schema)

    def without(self, table: pa.Table, keys: AbstractSet[str], dataset: Dataset) -> pa.Table:
        """Removes `keys` and finds the duplicates in the clusters they were in anew; no other cluster can change.

        A cluster is what links hold together. Without one image it may fall apart, or keep another image than before.
        """
        mates = self._cluster_mates(table, keys)
        if not mates:
            return table
        kept = table["key"].filter(pc.invert(_among(table["key"], keys)))
        found = [table.filter(pc.invert(_among(table["key"], mates)))]
        if mates - keys:
            found.append(self.find(_hashes(dataset, mates - keys)).cast(table.schema))
        rows = pa.concat_tables(found)
        return rows.take(pc.index_in(kept, rows["key"].combine_chunks()).combine_chunks()).combine_chunks()

    def alike(self, table: pa.Table, keys: AbstractSet[str]) -> frozenset[str]:
        return self._cluster_mates(table, keys) - keys

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts:
        dropped = pc.sum(table["is_duplicate"]).as_py() or 0
        return Counts(table.num_rows - dropped, {str(Reason.DUPLICATE): dropped} if dropped else {})

    def _cluster_mates(self, table: pa.Table, keys: AbstractSet[str]) -> frozenset[str]:
        """Returns the keys of every image in a cluster with one of `keys`, these included."""
        clusters = pc.unique(table.filter(_among(table["key"], keys))["cluster"])
        return frozenset(table.filter(pc.is_in(table["cluster"], clusters))["key"].to_pylist())


def _among(column: pa.ChunkedArray, values: AbstractSet[str]) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array(sorted(values), pa.string()))


def _hashes(dataset: Dataset, keys: AbstractSet[str]) -> pa.Table:
    """Returns the fields HASHES of these stored images."""
    indexes = [read_image_index(dataset.root, name, list(HASHES)) for name in sorted(set(map(image_partition, keys)))]
    return pa.concat_tables([index.filter(_among(index["key"], keys)) for index in indexes]).combine_chunks()
