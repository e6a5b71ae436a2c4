"""The stage of the relation `semantic_duplicates`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine.stage import PlannedPartition
from pipelines.stages.relate import PARTITION, RelationStage, RelationWorker, image_inputs, stored_images, table_inputs
from x2i.errors import UserError
from x2i.recipes.plan import makers
from x2i.relate.duplicates import ranked_anew
from x2i.relate.semantic_duplicates import SemanticDuplicates
from x2i.store import Dataset
from x2i.store.query.preference import ranked, tables_of
from x2i.store.query.views import list_views


@dataclass(frozen=True)
class SemanticDuplicatesStage(RelationStage, SemanticDuplicates):
    """Find images that show the same to an embedding model: other shots of a product, posters in other sizes.

    It reads a column of embeddings (`x2i embed`) and the score `flatness` (`x2i filter`). Of a group the captioned
    images are preferred, then the larger ones; `--prefer` says otherwise, with scores for example, the most important
    first. Up to 100,000 images every similar pair is found; of more, those in the same and in near k-means cells.

    Writes the relation `semantic_duplicates`: for every image the one to keep in its place. Nothing is deleted; leave
    duplicates out of shards with the selection "NOT semantic_duplicates.is_duplicate".

    x2i semantic-dedup my-dataset --similarity 0.95

    x2i semantic-dedup my-dataset --prefer "quality.min_side >= 512" --prefer "aesthetic.score"
    """

    name = SemanticDuplicates.spec.name
    format_version = 1
    writes = name

    @property
    def tables(self) -> tuple[str, ...]:
        named = {self.embeddings, *([self.flatness] if self.flatness else []), *tables_of(self.prefer)}
        return tuple(sorted(named))

    @property
    def reads(self) -> tuple[str, ...]:
        return "images", *self.tables

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return image_inputs(dataset) | table_inputs(dataset, *self.tables)

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition: every stored image with its rank, and whether it is flat.

        Raises UserError if a column that is read has not been made, or not of every stored image.
        """
        images = stored_images(dataset, ["key"])
        views = list_views(dataset)
        for name in self.tables:
            if name not in views:
                made = makers().get(name)
                hint = f"run `x2i {made}` first" if made else f"there are: {', '.join(views)}"
                raise UserError(f"{dataset.root}: {self.name} reads {name!r}, which has not been made: {hint}")
        rows = ranked(dataset, self.prefer, makers())
        flat = np.zeros(rows.num_rows, bool)
        if self.flatness:
            score = dataset.column(self.flatness).select(["key", "score"])
            found = pc.index_in(rows["key"], score["key"].combine_chunks())
            flat = pc.fill_null(pc.greater(score["score"].take(found), self.max_flatness), False)
        for name in [self.embeddings, self.flatness] if self.flatness else [self.embeddings]:
            of = dataset.column(name)["key"]
            if not pc.all(pc.is_in(images["key"], of.combine_chunks())).as_py():
                raise UserError(f"{dataset.root}: column {name!r} lacks some of the stored images: make it again")
        rows = rows.append_column("is_flat", flat if self.flatness else pa.array(flat)).combine_chunks()
        yield PlannedPartition(PARTITION, rows, self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> SemanticDuplicatesWorker:
        return SemanticDuplicatesWorker(Dataset.open(root), self)


class SemanticDuplicatesWorker(RelationWorker):
    """Finds the semantic duplicates."""

    def relate(self, images: pa.Table) -> pa.Table:
        found: pa.Table = self._stage.find(ranked_anew(images), self._dataset)  # a takedown leaves gaps in plans
        return found
