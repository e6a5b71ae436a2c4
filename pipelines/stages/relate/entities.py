"""The stage of the relation `subject_entities`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine.stage import PlannedPartition
from pipelines.stages.relate import PARTITION, RelationStage, RelationWorker, image_inputs, stored_images, table_inputs
from x2i.relate.subject_entities import SubjectEntities, images_with_entities
from x2i.relate.subject_rows import subject_table
from x2i.store import Dataset
from x2i.store.query.views import list_views


@dataclass(frozen=True)
class SubjectEntitiesStage(RelationStage, SubjectEntities):
    """Choose up to three objects of every photograph, for training on "IMG1 and IMG2 in this scene".

    Writes the relation `subject_entities`, from which the recipes entity_to_image, two_entities_to_image and
    three_entities_to_image cut the objects. Run `x2i detect` first, best with `--phrases-from captions`: then the words
    of the caption are tied to the pictures. `x2i annotate repaints` has a model draw the objects anew, so that inputs
    are no literal cut-outs.

    x2i subject-entities my-dataset --most 2
    """

    name = SubjectEntities.spec.name
    format_version = 2
    writes = name

    @property
    def reads(self) -> tuple[str, ...]:
        return ("images", self.entities, self.captions)

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return image_inputs(dataset) | table_inputs(dataset, self.entities, self.captions)

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition with every stored image. Raises UserError if there are no images or no entities."""
        rows = stored_images(dataset, ["key", "height", "width"])
        dataset.column(self.entities)
        yield PlannedPartition(PARTITION, rows, self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> SubjectEntitiesWorker:
        return SubjectEntitiesWorker(Dataset.open(root), self)


class SubjectEntitiesWorker(RelationWorker):
    """Chooses the objects image by image."""

    def relate(self, images: pa.Table) -> pa.Table:
        options, captions = self._stage, dict[str, str]()
        if options.captions in list_views(self._dataset):
            table = self._dataset.column(options.captions).filter(pc.field("caption").is_valid())
            captions = dict(zip(table["key"].to_pylist(), table["caption"].to_pylist()))
        entities = self._dataset.column(options.entities)
        masked = entities.filter(pc.is_valid(entities["mask_counts"])).to_pylist()
        return subject_table(options.find(images_with_entities(images.to_pylist(), masked, captions)))
