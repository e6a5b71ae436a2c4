"""The stage that imports images into the image store."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pyarrow.compute as pc

from pipelines.engine.stage import PlanItem, PlannedPartition
from pipelines.stages.imports.stage import ImportStage, ImportWorker, Written
from x2i.crawl.process import StoragePolicy, StoredFormat
from x2i.importers.base import Makes
from x2i.importers.images import image_rows, image_table, import_image
from x2i.options import Option, as_config
from x2i.reasons import Dropped, Status
from x2i.store import Dataset, paths
from x2i.store.commits import list_commits
from x2i.store.files.remote import list_files
from x2i.store.images import image_partition, read_image_index
from x2i.store.stages import ingest_stages
from x2i.store.tombstones import Tombstones
from x2i.takedown.redact import without_tombstoned

ANY_SIDE = 2**31 - 1


@dataclass(frozen=True)
class ImageOutput:
    """How imported images are stored."""

    partition_size: Annotated[int, Option("Images per partition.", ge=1, le=100_000)] = 1000
    max_side: Annotated[
        int | None, Option("Shrink larger images to this longest side, in pixels. Default: as they are.", ge=1)
    ] = None
    min_side: Annotated[int, Option("Drop images whose shorter side has fewer pixels.", ge=0)] = 0
    format: Annotated[
        StoredFormat, Option("How images are stored. keep: their own bytes where nothing has to change.")
    ] = StoredFormat.KEEP
    quality: Annotated[int, Option("Of JPEG and WebP, where an image is encoded anew.", ge=1, le=100)] = 95
    ignore_file_opt_outs: Annotated[
        bool, Option("Store images whose own metadata refuses training: for images that are yours.")
    ] = False

    def policy(self) -> StoragePolicy:
        return StoragePolicy(
            max_side=self.max_side or ANY_SIDE,
            min_side=self.min_side,
            format=self.format,
            quality=self.quality,
            ignore_file_opt_outs=self.ignore_file_opt_outs,
        )


@dataclass(frozen=True)
class ImportImages(ImportStage):
    """Images and what was written beside them -> the image store."""

    output: ImageOutput = field(default_factory=ImageOutput)

    makes: ClassVar[Makes] = "images"

    def config(self) -> dict[str, Any]:
        return {**self.importer.config(), **as_config(self.output)}

    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        """Yields the partitions, under the numbers that no other stage has.

        Committed partitions keep their sizes: what a source has more than before goes into further partitions.
        """
        sizes = {commit.partition: commit.counts.total for commit in list_commits(dataset.root, self.name)}
        names = self._free_names(dataset)
        tombstones = Tombstones.load(dataset.root)
        held: list[dict[str, Any]] = []

        def cut(rows: list[dict[str, Any]]) -> PlannedPartition:
            table = without_tombstoned(image_table(rows, name), tombstones)
            return self.partition(name, table, table["location"].to_pylist(), self._partition_config())

        name = next(names)
        for record in self.records():
            held += image_rows(record, self.source.name)
            while len(held) >= (size := sizes.get(name, self.output.partition_size)):
                yield cut(held[:size])
                held, name = held[size:], next(names)
        if held:
            yield cut(held)

    def write(self, worker: ImportWorker, partition: str, rows: list[dict[str, Any]]) -> Written:
        policy = self.output.policy()
        written = Written()
        with image_partition(worker.root, partition) as store:
            for row in rows:
                record, data = import_image(row, worker.reader, policy, worker.tombstones)
                store.add(record, data)
                written.count(row, None if record.reason is None else Dropped(record.reason, record.detail))
        tar = paths.image_tar(worker.root, partition)
        written.digests[tar] = store.tar_sha256
        written.outputs += [tar, paths.image_index(worker.root, partition)]
        return written

    def remarks(self, dataset: Dataset) -> list[str]:
        images = wordless = 0
        for commit in list_commits(dataset.root, self.name):
            index = read_image_index(dataset.root, commit.partition, ["status", "text"])
            texts = index.filter(pc.equal(index["status"], str(Status.OK)))["text"]
            images += len(texts)
            wordless += pc.sum(pc.equal(texts, "")).as_py() or 0
        words = [f"{images - wordless:,} of {images:,} images have words"] if images else []
        return [*words, *super().remarks(dataset)]

    def _partition_config(self) -> dict[str, Any]:
        stored = {name: value for name, value in as_config(self.output).items() if name != "partition_size"}
        return {"importer": self.importer.name, **stored}

    def _free_names(self, dataset: Dataset) -> Iterator[str]:
        """Yields the names of image partitions that no other stage has planned or committed, by number."""
        taken = {
            path.name.removesuffix(suffix)
            for stage in ingest_stages(dataset.root)
            for folder, suffix in (("plans", paths.INDEX_SUFFIX), ("commits", ".json"))
            for path in (list_files(dataset.root / folder / stage, suffix) if stage != self.name else ())
        }
        return (name for name in map(paths.partition_name, itertools.count()) if name not in taken)
