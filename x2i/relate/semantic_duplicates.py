"""Semantic duplicates: images whose embeddings are near, and which of them to keep."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation
from x2i.relate.duplicates import groups, ranked_anew
from x2i.store import paths
from x2i.store.commits import Counts
from x2i.store.query.preference import CAPTIONED_AND_LARGE
from x2i.tables import TableSpec

if TYPE_CHECKING:
    from x2i.store import Dataset

EXACT_IMAGES = 100_000
"""Up to so many, `auto` compares all."""


@dataclass(frozen=True)
class SemanticDuplicates(Relation):
    """One row per stored image, in key order, with the image to keep in its place."""

    embeddings: Annotated[str, Option("The column of embeddings that are compared.")] = "embeddings"
    similarity: Annotated[
        float, Option("Images whose embeddings have at least this cosine show the same.", ge=0.5, le=1)
    ] = 0.95
    search: Annotated[
        Literal["auto", "exact", "cells"],
        Option(
            "exact: all similar pairs, in time that grows with the square of the images; cells: those in the same and "
            "in near k-means cells; auto: exact up to 100,000 images."
        ),
    ] = "auto"
    cells: Annotated[
        int, Option("With how many of its nearest k-means cells an image is compared; 1 as in SemDeDup.", ge=1)
    ] = 8
    prefer: Annotated[
        tuple[str, ...],
        Option("SQL expression; of a group the image with the largest value is kept; a further one breaks ties."),
    ] = CAPTIONED_AND_LARGE
    flatness: Annotated[
        str, Option('The column of flatness: flat images, such as logos, are not compared. "" compares them.')
    ] = "flatness"
    max_flatness: Annotated[float, Option("Images with a larger flatness are not compared.", ge=0, le=1)] = 0.85

    spec = TableSpec(
        name="semantic_duplicates",
        title="no semantic duplicate",
        made_by="semantic-dedup",
        schema=pa.schema(
            [
                ("key", pa.string()),
                ("cluster", pa.string()),  # key of the kept representative
                ("is_duplicate", pa.bool_()),
                ("similarity", pa.float32()),  # cosine to the representative
                ("similar_group", pa.string()),  # key of the first image of those that similar ones link
                ("rank", pa.int64()),  # by preference among all images, 0 is the best
            ]
        ),
        kind="relation",
        image_keys=("key", "cluster", "similar_group"),
        kept="NOT is_duplicate",
    )

    def find(self, images: pa.Table, dataset: Dataset) -> pa.Table:
        """Returns the rows for `images` (fields key, rank, is_flat), in the order given, which is that of the keys.

        The image of the best rank is kept, and stands for all whose embeddings have at least the similarity to its own;
        so it goes on with the best of those left. Flat images and those without an embedding stand for themselves.
        How similar pairs are searched for: see x2i.relate.similar.
        """
        from x2i.relate.similar import representatives, similar_groups
        from x2i.relate.vectors import map_unit_vectors

        keys = images["key"].to_pylist()
        rank_N = images["rank"].to_numpy().astype(np.int64)
        with tempfile.TemporaryFile() as file:
            vectors_ND, known_N = map_unit_vectors(self._blocks(dataset, keys), len(keys), file, self.embeddings)
            compared = np.flatnonzero(known_N & ~images["is_flat"].to_numpy())
            exact = self.search == "exact" or (self.search == "auto" and len(compared) <= EXACT_IMAGES)
            group_N = similar_groups(vectors_ND, compared, self.similarity, None if exact else self.cells)
            kept_N, cosine_N = np.arange(len(keys)), np.ones(len(keys), np.float32)
            for rows in groups(group_N):
                ordered = rows[np.argsort(rank_N[rows])]
                kept_N[ordered], cosine_N[ordered] = representatives(vectors_ND, ordered, self.similarity)
        names = np.array(keys, dtype=object)
        is_duplicate = kept_N != np.arange(len(keys))
        cosine_N = np.where(is_duplicate, np.minimum(cosine_N, 1), 1).astype(np.float32)
        columns = [keys, names[kept_N].tolist(), is_duplicate.tolist(), cosine_N, names[group_N].tolist(), rank_N]
        return pa.table(columns, schema=self.spec.schema)

    def without(self, table: pa.Table, keys: AbstractSet[str], dataset: Dataset) -> pa.Table:
        """Removes `keys` and finds the duplicates in the groups they were in anew; no other group can change."""
        going = pc.is_in(table["key"], pa.array(sorted(keys), pa.string()))
        if not pc.any(going).as_py():
            return table
        stays = table.filter(pc.invert(going))
        touched = pc.is_in(stays["similar_group"], pc.unique(table.filter(going)["similar_group"]))
        found = [stays.filter(pc.invert(touched))]
        if pc.any(touched).as_py():
            mates = stays.filter(touched).select(["key", "rank"])
            mates = mates.append_column("is_flat", pa.array([False] * mates.num_rows))
            found.append(self.find(mates.combine_chunks(), dataset).cast(table.schema))
        rows = pa.concat_tables(found)
        rows = rows.take(pc.index_in(stays["key"], rows["key"].combine_chunks()).combine_chunks())
        return ranked_anew(rows)

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts:
        dropped = pc.sum(table["is_duplicate"]).as_py() or 0
        return Counts(table.num_rows - dropped, {str(Reason.DUPLICATE): dropped} if dropped else {})

    def _blocks(self, dataset: Dataset, keys: list[str]) -> Iterator[tuple[NDArray[np.int64], pa.Array]]:
        """Yields the rows among `keys` and the embeddings of a block of images at a time."""
        from x2i.relate.vectors import read_blocks

        places = {key: row for row, key in enumerate(keys)}
        partitions = sorted({paths.image_partition(key) for key in keys})
        for batch in read_blocks(dataset, self.embeddings, ["key", "embedding"], partitions):
            yield np.array([places.get(key, -1) for key in batch["key"].to_pylist()]), batch["embedding"]
