"""The stage of the relation `entity_clusters`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipelines.engine.stage import PlannedPartition
from pipelines.stages.relate import PARTITION, RelationStage, RelationWorker, image_inputs, table_inputs
from x2i.errors import UserError
from x2i.recipes.plan import makers
from x2i.relate.entity_clusters import EntityClusters
from x2i.relate.vectors import read_blocks
from x2i.store import Dataset
from x2i.store.query.views import list_views


@dataclass(frozen=True)
class EntityClustersStage(RelationStage, EntityClusters):
    """Find the same objects, or the same people, across images: groups of vectors that are near.

    It reads a column with several vectors for each image: `x2i annotate entity_embeddings`, or `faces`. Every pair with
    at least the similarity is found. Writes the relation `entity_clusters`: for every object the first one like it.

    Example: x2i entity-clusters my-dataset --similarity 0.9

    Example: x2i entity-clusters my-dataset --vectors faces --field vector --number face --similarity 0.4
    """

    name = EntityClusters.spec.name
    format_version = 1
    writes = name

    @property
    def reads(self) -> tuple[str, ...]:
        return "images", self.vectors

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return image_inputs(dataset) | table_inputs(dataset, self.vectors)

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition: image and number of every vector. Raises UserError if there is no such column."""
        views = list_views(dataset)
        if self.vectors not in views:
            made = makers().get(self.vectors)
            hint = f"run `x2i {made}` first" if made else f"there are: {', '.join(views) or 'none'}"
            raise UserError(f"{dataset.root}: {self.name} reads {self.vectors!r}, which has not been made: {hint}")
        spec = views[self.vectors].spec
        for field in (self.field, self.number):
            if spec is None or field not in spec.schema.names:
                there = ", ".join(spec.schema.names) if spec else "none"
                raise UserError(f"{dataset.root}: column {self.vectors!r} has no field {field!r}; it has: {there}")
        partitions = [file.stem for file in views[self.vectors].files]
        blocks = list(read_blocks(dataset, self.vectors, ["key", self.number], partitions))
        keys = pa.chunked_array([block["key"] for block in blocks], pa.string())
        numbers = pa.chunked_array([block[self.number].cast(pa.int32()) for block in blocks], pa.int32())
        rows = pa.table({"key": keys, "number": numbers}).combine_chunks()
        yield PlannedPartition(PARTITION, rows, self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> EntityClustersWorker:
        return EntityClustersWorker(Dataset.open(root), self)


class EntityClustersWorker(RelationWorker):
    """Clusters the objects."""

    def relate(self, images: pa.Table) -> pa.Table:
        found: pa.Table = self._stage.find(images, self._dataset)
        return found
