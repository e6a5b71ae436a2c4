"""The stage of the relation `duplicates`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine.stage import PlannedPartition
from pipelines.stages.relate import PARTITION, RelationStage, RelationWorker, image_inputs, stored_images, table_inputs
from x2i.errors import UserError
from x2i.recipes.plan import makers
from x2i.relate.duplicates import HASHES, PDQ, Duplicates, look_at, ranked_anew, with_pdq
from x2i.store import Dataset
from x2i.store.query.preference import ranked, tables_of


@dataclass(frozen=True)
class DuplicatesStage(RelationStage, Duplicates):
    """Find images that are there more than once: the same bytes, or the same picture resized or compressed again.

    Images with near hashes are duplicates only if they look the same: a picture in other colors, or blurred, stays.
    --hash pdq compares PDQ hashes (`x2i filter --score pdq`, or `x2i crawl --pdq`) in place of phashes.

    Writes the relation `duplicates`: for every image the one to keep in its place. Of a group the captioned images are
    preferred, then the larger ones; `--prefer` says otherwise. Nothing is deleted; leave duplicates out of shards with
    the selection "NOT duplicates.is_duplicate". `x2i semantic-dedup` compares embeddings instead.

    x2i dedup my-dataset --max-distance 6

    x2i dedup my-dataset --hash pdq --pdq-distance 31

    x2i dedup my-dataset --prefer "quality.sharpness" --prefer "images.width * images.height"
    """

    name = Duplicates.spec.name
    format_version = 3
    writes = name

    @property
    def tables(self) -> tuple[str, ...]:
        return *((PDQ,) if self.hash == "pdq" else ()), *tables_of(self.prefer)

    @property
    def reads(self) -> tuple[str, ...]:
        return "images", *self.tables

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return image_inputs(dataset) | table_inputs(dataset, *self.tables)

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition: the hashes and the rank of every stored image.

        Raises UserError if there is no image, or no hash of one.
        """
        rows = stored_images(dataset, list(HASHES))
        if rows["phash"].null_count:
            key = rows.filter(pc.is_null(rows["phash"]))["key"][0].as_py()
            raise UserError(f"{dataset.root}: stored image {key} has no phash: crawl it again with this version")
        if self.hash == "pdq":
            rows = with_pdq(dataset, rows)
        rank = ranked(dataset, self.prefer, makers())["rank"]
        rows = rows.append_column("rank", rank).combine_chunks()
        yield PlannedPartition(PARTITION, rows, self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> DuplicatesWorker:
        return DuplicatesWorker(Dataset.open(root), self)


class DuplicatesWorker(RelationWorker):
    """Finds the duplicates."""

    def relate(self, images: pa.Table) -> pa.Table:
        images = ranked_anew(images)  # a takedown leaves gaps in plans
        found: pa.Table = self._stage.find(images, look_at(self._dataset, images))
        return found
