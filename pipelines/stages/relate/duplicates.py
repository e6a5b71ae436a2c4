"""The stage of the relation `duplicates`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine.stage import PlannedPartition
from pipelines.stages.relate import PARTITION, RelationStage, RelationWorker, image_inputs, stored_images
from x2i.errors import UserError
from x2i.relate.duplicates import HASHES, Duplicates, look_at
from x2i.store import Dataset


@dataclass(frozen=True)
class DuplicatesStage(RelationStage, Duplicates):
    """Find images that are there more than once: the same bytes, or the same picture resized or compressed again.

    Images with near hashes are duplicates only if they look the same: a picture in other colors, or blurred, stays.

    Writes the relation `duplicates`: for every image the one to keep in its place, the largest of its group. Nothing is
    deleted; leave duplicates out of shards with the selection "NOT duplicates.is_duplicate".

    Example: x2i dedup my-dataset --max-distance 6
    """

    name = Duplicates.spec.name
    format_version = 2
    reads = ("images",)
    writes = name

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return image_inputs(dataset)

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition with the hashes of every stored image. Raises UserError if there is none."""
        rows = stored_images(dataset, list(HASHES))
        if rows["phash"].null_count:
            key = rows.filter(pc.is_null(rows["phash"]))["key"][0].as_py()
            raise UserError(f"{dataset.root}: stored image {key} has no phash: crawl it again with this version")
        yield PlannedPartition(PARTITION, rows, self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> DuplicatesWorker:
        return DuplicatesWorker(Dataset.open(root), self)


class DuplicatesWorker(RelationWorker):
    """Finds the duplicates."""

    def relate(self, images: pa.Table) -> pa.Table:
        found: pa.Table = self._stage.find(images, look_at(self._dataset, images))
        return found
