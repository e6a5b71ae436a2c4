"""The stage of the relation `subject_pairs`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.engine.stage import Outcome, PlannedPartition
from pipelines.stages.relate import PARTITION, image_inputs, stored_images
from x2i.errors import UserError
from x2i.options import as_config
from x2i.relate.duplicates import Duplicates
from x2i.relate.subject_pairs import SubjectPairs, unique_images
from x2i.store import Dataset
from x2i.store.columns import write_relation
from x2i.store.images import read_stored_image
from x2i.store.paths import image_partition
from x2i.store.query.views import list_views

BATCH = 16


@dataclass(frozen=True)
class SubjectsStage(SubjectPairs):
    """images, duplicates, embeddings -> relations/subject_pairs.

    Memory: the matcher's features of every image that is no duplicate, and one batch of images.
    """

    name = SubjectPairs.spec.name
    format_version = 1
    writes = name

    @property
    def reads(self) -> tuple[str, ...]:
        return ("images", Duplicates.spec.name, self.embeddings)

    def config(self) -> dict[str, Any]:
        return as_config(self)

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        views = list_views(dataset)
        read = [views[name].digests for name in (Duplicates.spec.name, self.embeddings) if name in views]
        return image_inputs(dataset) | {path: digest for digests in read for path, digest in digests.items()}

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition: every stored image with its hash and its place in the store.

        Raises UserError if the duplicates or the embeddings are not those of every stored image.
        """
        rows = stored_images(dataset, ["key", "phash", "data_offset", "data_size"])
        views = list_views(dataset)
        tables = {"relation": (Duplicates.spec.name, dataset.relation), "column": (self.embeddings, dataset.column)}
        for kind, (name, read) in tables.items():
            table = read(name)
            if table["key"].to_pylist() != rows["key"].to_pylist():
                spec = views[name].spec if name in views else None
                raise UserError(
                    f"{dataset.root}: {kind} {name!r} has {table.num_rows} images, the store has {rows.num_rows}: "
                    f"run `x2i {spec.made_by if spec else name}` again"
                )
        yield PlannedPartition(PARTITION, rows, self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> SubjectsWorker:
        return SubjectsWorker(Dataset.open(root), self)


class SubjectsWorker:
    """Extracts features image by image, then compares candidates."""

    def __init__(self, dataset: Dataset, pairs: SubjectPairs) -> None:
        import cv2

        from x2i.models import registry

        cv2.setNumThreads(1)
        self._dataset, self._pairs = dataset, pairs
        self._matcher = registry.load(registry.Ability.INSTANCE_MATCHER, pairs.matcher)

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        images = unique_images(self._dataset, rows)
        planned = images.to_pylist()

        def read_image(row: int) -> NDArray[np.uint8]:
            return read_stored_image(self._dataset.root, image_partition(planned[row]["key"]), planned[row])

        features: list[Any] = []
        for start in range(0, len(planned), BATCH):
            batch = range(start, min(start + BATCH, len(planned)))
            features += self._matcher.features([read_image(row) for row in batch])
        table = self._pairs.find(images, features, self._embeddings(images), read_image, self._matcher)
        path = write_relation(self._dataset.root, SubjectPairs.spec.name, table, SubjectPairs.spec)
        return Outcome((path,), self._pairs.count(self._dataset, rows, table))

    def _embeddings(self, images: pa.Table) -> NDArray[np.float32]:
        """Returns embeddings_ND of the images."""
        table = self._dataset.column(self._pairs.embeddings)
        vectors = table.filter(pc.is_in(table["key"], images["key"].combine_chunks()))["embedding"].combine_chunks()
        if not images.num_rows:
            return np.zeros((0, 0), np.float32)
        return vectors.flatten().to_numpy().reshape(images.num_rows, -1).astype(np.float32)
