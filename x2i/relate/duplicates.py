"""Duplicates: images with equal bytes, or with near hashes and the same looks, and which of them to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from x2i.errors import UserError
from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation
from x2i.store.commits import Counts
from x2i.store.images import read_image_index, read_stored_image
from x2i.store.paths import image_partition
from x2i.store.query.preference import CAPTIONED_AND_LARGE
from x2i.tables import TableSpec

if TYPE_CHECKING:
    from x2i.relate.looks import Looks
    from x2i.store import Dataset

_LOOKED_AT_ONCE = 64

HASHES = ("key", "sha256", "phash", "pdq", "data_offset", "data_size")
"""The fields of the image index that duplicates are found by."""
PDQ = "pdq"
"""The column of PDQ hashes of images for which the crawl computed none."""
Look = Callable[[Sequence[int]], "Looks"]
"""Returns what the images of some rows look like."""


@dataclass(frozen=True)
class Duplicates(Relation):
    """One row per stored image, in key order, with the image to keep in its place."""

    max_distance: Annotated[
        int, Option("How many bits of the 64-bit perceptual hash two copies may differ in.", ge=0, le=15)
    ] = 6
    hash: Annotated[
        Literal["phash", "pdq"], Option("Which hashes are compared; pdq reads the score `pdq`, or what a crawl stored.")
    ] = "phash"
    pdq_distance: Annotated[
        int, Option("How many bits of the 256-bit PDQ hash two copies may differ in.", ge=0, le=63)
    ] = 31
    prefer: Annotated[
        tuple[str, ...],
        Option("SQL expression; of a group the image with the largest value is kept; a further one breaks ties."),
    ] = CAPTIONED_AND_LARGE

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
                ("distance", pa.int32()),  # of the hashes, to the representative
                ("hash_group", pa.string()),  # key of the first image of those that near hashes link, looks aside
                ("rank", pa.int64()),  # by preference among all images, 0 is the best
            ]
        ),
        kind="relation",
        image_keys=("key", "cluster", "hash_group"),
        kept="NOT is_duplicate",
    )

    def find(self, images: pa.Table, look: Look) -> pa.Table:
        """Returns the rows for `images` (the fields HASHES and rank), in the order given.

        The image of the best rank is kept; duplicates of it are those with equal bytes, and those with a hash within
        the distance that look the same (x2i.relate.looks). So it goes on with the best of the images that are left.
        Only images with a near hash are looked at.
        """
        from x2i.relate.exact import exact_pairs
        from x2i.relate.near import clusters, hamming_distances, near_pairs

        keys = np.array(images["key"].to_pylist(), dtype=object)
        digests = np.array(images["sha256"].to_pylist(), dtype=object)
        hashes, distance = _words(images, self.hash), self.pdq_distance if self.hash == "pdq" else self.max_distance
        rank = images["rank"].to_numpy().astype(np.int64)
        pairs_P2 = np.concatenate([exact_pairs(digests.tolist()), near_pairs(hashes, distance)])
        group = clusters(len(keys), pairs_P2)
        kept = np.arange(len(keys))
        for rows in groups(group):
            ordered = rows[np.argsort(rank[rows])]
            kept[ordered] = ordered[_representatives(digests[ordered], hashes[ordered], distance, look, ordered)]
        is_duplicate = kept != np.arange(len(keys))
        kind = np.where(is_duplicate, np.where(digests == digests[kept], "exact", "near"), "")
        differing = hamming_distances(hashes, hashes[kept])
        columns = [keys.tolist(), keys[kept].tolist(), is_duplicate.tolist(), kind.tolist(), differing.tolist()]
        return pa.table([*columns, keys[group].tolist(), rank], schema=self.spec.schema)

    def without(self, table: pa.Table, keys: AbstractSet[str], dataset: Dataset) -> pa.Table:
        """Removes `keys` and finds the duplicates in the hash groups they were in anew; no other group can change.

        Without one image a group may fall apart, or keep another image than before.
        """
        groups = pc.unique(table.filter(_among(table["key"], keys))["hash_group"])
        mates = frozenset(table.filter(pc.is_in(table["hash_group"], groups))["key"].to_pylist())
        if not mates:
            return table
        kept = table["key"].filter(pc.invert(_among(table["key"], keys)))
        found = [table.filter(pc.invert(_among(table["key"], mates)))]
        if mates - keys:
            images = _hashes(dataset, mates - keys)
            images = with_pdq(dataset, images) if self.hash == "pdq" else images
            rank = table["rank"].take(pc.index_in(images["key"], table["key"].combine_chunks()).combine_chunks())
            images = images.append_column("rank", rank)
            found.append(self.find(images, look_at(dataset, images)).cast(table.schema))
        rows = pa.concat_tables(found)
        return ranked_anew(rows.take(pc.index_in(kept, rows["key"].combine_chunks()).combine_chunks()))

    def alike(self, table: pa.Table, keys: AbstractSet[str]) -> frozenset[str]:
        return self._cluster_mates(table, keys) - keys

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts:
        dropped = pc.sum(table["is_duplicate"]).as_py() or 0
        return Counts(table.num_rows - dropped, {str(Reason.DUPLICATE): dropped} if dropped else {})

    def _cluster_mates(self, table: pa.Table, keys: AbstractSet[str]) -> frozenset[str]:
        """Returns the keys of every image in a cluster with one of `keys`, these included."""
        clusters = pc.unique(table.filter(_among(table["key"], keys))["cluster"])
        return frozenset(table.filter(pc.is_in(table["cluster"], clusters))["key"].to_pylist())


def with_pdq(dataset: Dataset, images: pa.Table) -> pa.Table:
    """Returns `images` (the fields HASHES) with the PDQ hashes of the column `pdq` where the index has none.

    Raises UserError if an image has neither.
    """
    hashes = pc.if_else(pc.equal(images[PDQ], ""), pa.scalar(None, pa.string()), images[PDQ])
    if hashes.null_count and PDQ in dataset.columns():
        column = dataset.column(PDQ)
        place = pc.index_in(images["key"], column["key"].combine_chunks())
        hashes = pc.coalesce(hashes, column[PDQ].combine_chunks().take(place.combine_chunks()))
    if hashes.null_count:
        key = images["key"].filter(pc.is_null(hashes))[0].as_py()
        raise UserError(f"{dataset.root}: image {key} has no PDQ hash: run `x2i filter {dataset.root} --score pdq`")
    return images.set_column(images.schema.names.index(PDQ), PDQ, hashes).combine_chunks()


def ranked_anew(table: pa.Table) -> pa.Table:
    """Returns `table` with its field `rank` counted from 0 without gaps, in the same order."""
    rank_N = np.argsort(np.argsort(table["rank"].to_numpy()))
    field = table.schema.field("rank")
    return table.set_column(table.schema.names.index("rank"), field, pa.array(rank_N, field.type)).combine_chunks()


def look_at(dataset: Dataset, images: pa.Table) -> Look:
    """Returns the function that looks at rows of `images` (the fields HASHES) in the image store."""
    from x2i.relate.looks import Looks

    places = images.select(["key", "data_offset", "data_size"])

    def look(rows: Sequence[int]) -> Looks:
        parts = []
        for start in range(0, len(rows), _LOOKED_AT_ONCE):
            some = places.take(pa.array(rows[start : start + _LOOKED_AT_ONCE])).to_pylist()
            parts.append(
                Looks.of([read_stored_image(dataset.root, image_partition(place["key"]), place) for place in some])
            )
        return Looks.joined(parts)

    return look


def groups(group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Returns the rows of each group of two or more."""
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return [rows for rows in parts if len(rows) > 1]


def _words(images: pa.Table, kind: str) -> NDArray[np.uint64]:
    """Returns the hashes of a kind, of W words each: (N,) for phash, (N, 4) for PDQ."""
    if kind == "phash":
        return np.asarray(images["phash"].to_numpy().astype(np.uint64))
    digits = "".join(images[PDQ].to_pylist())
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64).reshape(images.num_rows, -1)


def _representatives(
    digests: NDArray[np.object_], hashes: NDArray[np.uint64], max_distance: int, look: Look, rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns for each image of a group, the best first, the position of the one that is kept in its place."""
    from x2i.relate.near import hamming_distances

    _, first, copy_of = np.unique(digests, return_index=True, return_inverse=True)
    distinct = np.sort(first)  # one of each, the best first
    looks = look(rows[distinct].tolist()) if len(distinct) > 1 else None
    kept = np.full(len(distinct), -1)
    for position in range(len(distinct)):
        if kept[position] >= 0:
            continue
        kept[position] = position
        left = np.flatnonzero(kept < 0)
        near = hamming_distances(hashes[distinct[left]], hashes[distinct[position]]) <= max_distance
        if looks is not None and near.any():
            left = left[near]
            kept[left[looks.same(position, left)]] = position
    return distinct[kept[np.searchsorted(distinct, first[copy_of])]]


def _among(column: pa.ChunkedArray, values: AbstractSet[str]) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array(sorted(values), pa.string()))


def _hashes(dataset: Dataset, keys: AbstractSet[str]) -> pa.Table:
    """Returns the fields HASHES of these stored images."""
    indexes = [read_image_index(dataset.root, name, list(HASHES)) for name in sorted(set(map(image_partition, keys)))]
    return pa.concat_tables([index.filter(_among(index["key"], keys)) for index in indexes]).combine_chunks()
