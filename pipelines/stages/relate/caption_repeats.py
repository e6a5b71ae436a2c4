"""The stage of the relation `caption_repeats`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipelines.engine.stage import PlannedPartition
from pipelines.stages.relate import PARTITION, RelationStage, RelationWorker, image_inputs, stored_images, table_inputs
from x2i.errors import UserError
from x2i.relate.caption_repeats import CaptionRepeats
from x2i.store import Dataset
from x2i.store.query.views import list_views


@dataclass(frozen=True)
class CaptionRepeatsStage(RelationStage, CaptionRepeats):
    """Count how many images have the same caption: names of shops and templates of pages say nothing about a picture.

    Captions that differ in case, punctuation or numbers alone count as the same. Writes the relation `caption_repeats`;
    leave out what is repeated with the selection "caption_repeats.images <= 10".

    Example: x2i repeats my-dataset --captions captions
    """

    name = CaptionRepeats.spec.name
    format_version = 1
    writes = name

    @property
    def reads(self) -> tuple[str, ...]:
        return "images", self.captions

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return image_inputs(dataset) | table_inputs(dataset, self.captions)

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition: the keys of every stored image. Raises UserError if the captions have not been made."""
        rows = stored_images(dataset, ["key"])
        views = list_views(dataset)
        if self.captions not in views:
            there = ", ".join(views)
            raise UserError(
                f"{dataset.root}: no column {self.captions!r}: run `x2i caption` first (there are: {there})"
            )
        yield PlannedPartition(PARTITION, rows, self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> CaptionRepeatsWorker:
        return CaptionRepeatsWorker(Dataset.open(root), self)


class CaptionRepeatsWorker(RelationWorker):
    """Counts the words of the captions."""

    def relate(self, images: pa.Table) -> pa.Table:
        found: pa.Table = self._stage.find(images, self._dataset)
        return found
