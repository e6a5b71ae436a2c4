"""Entity clusters: objects or faces whose vectors are near, in whatever images they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation, count_used
from x2i.relate.duplicates import groups
from x2i.store import paths
from x2i.store.commits import Counts
from x2i.tables import TableSpec

if TYPE_CHECKING:
    from x2i.store import Dataset


@dataclass(frozen=True)
class EntityClusters(Relation):
    """One row per object that has a vector, in the order of their images, with the object that it is like."""

    vectors: Annotated[str, Option("The column of vectors, several for each image; `faces` has them too.")] = (
        "entity_embeddings"
    )
    field: Annotated[str, Option("Its field of vectors: `vector` of faces.")] = "embedding"
    number: Annotated[str, Option("Its field that numbers what is in an image: `face` of faces.")] = "entity"
    similarity: Annotated[float, Option("Objects whose vectors have at least this cosine are alike.", ge=0, le=1)] = 0.9

    spec = TableSpec(
        name="entity_clusters",
        title="like another object",
        made_by="entity-clusters",
        schema=pa.schema(
            [
                ("key", pa.string()),
                ("number", pa.int32()),
                ("cluster_key", pa.string()),  # of the object that stands for the cluster: the first
                ("cluster_number", pa.int32()),
                ("members", pa.int64()),  # objects of the cluster, this one included
                ("similarity", pa.float32()),  # cosine to the object that stands for the cluster
            ]
        ),
        kind="relation",
        rows="many",
        image_keys=("key", "cluster_key"),
        kept="members > 1",
    )

    def find(self, entities: pa.Table, dataset: Dataset) -> pa.Table:
        """Returns the rows for `entities` (fields key, number), in the order given, which is that of their column.

        The first object stands for all whose vectors have at least the similarity to its own; so it goes on with the
        first of those left. Nothing within the similarity is missed: see x2i.relate.similar.
        """
        from x2i.relate.similar import representatives, similar_groups
        from x2i.relate.vectors import map_unit_vectors

        count = entities.num_rows
        lead_N, cosine_N = np.arange(count), np.ones(count, np.float32)
        with tempfile.TemporaryFile() as file:
            vectors_ND, known_N = map_unit_vectors(self._blocks(dataset, entities), count, file, self.vectors)
            compared = np.flatnonzero(known_N)
            for rows in groups(similar_groups(vectors_ND, compared, self.similarity)):
                lead_N[rows], cosine_N[rows] = representatives(vectors_ND, rows, self.similarity)
        cosine_N = np.where(lead_N == np.arange(count), 1, np.minimum(cosine_N, 1)).astype(np.float32)
        members_N = np.bincount(lead_N, minlength=count)[lead_N]
        leads = entities.take(pa.array(lead_N))
        columns = [entities["key"], entities["number"], leads["key"], leads["number"], members_N, cosine_N]
        return pa.table(columns, names=self.spec.schema.names).cast(self.spec.schema).combine_chunks()

    def without(self, table: pa.Table, keys: AbstractSet[str], dataset: Dataset) -> pa.Table:
        """Removes `keys` and clusters anew what is left."""
        going = pc.is_in(table["key"], pa.array(sorted(keys), pa.string()))
        if not pc.any(going).as_py():
            return table
        left = table.filter(pc.invert(going)).select(["key", "number"])
        return self.find(left.combine_chunks(), dataset).cast(table.schema)

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts:
        return count_used(self.spec, images, table, Reason.NOTHING_FOUND)

    def _blocks(self, dataset: Dataset, entities: pa.Table) -> Iterator[tuple[NDArray[np.int64], pa.Array]]:
        """Yields the rows among `entities` and the vectors of a block of objects at a time."""
        from x2i.relate.vectors import read_blocks

        keys = entities["key"].to_pylist()
        places = {pair: row for row, pair in enumerate(zip(keys, entities["number"].to_pylist(), strict=True))}
        partitions = sorted(set(map(paths.image_partition, keys)))
        for batch in read_blocks(dataset, self.vectors, ["key", self.number, self.field], partitions):
            pairs = zip(batch["key"].to_pylist(), batch[self.number].to_pylist(), strict=True)
            yield np.array([places.get(pair, -1) for pair in pairs], np.int64), batch[self.field]
