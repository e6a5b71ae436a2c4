"""What the annotating stages share: one column partition per image partition, each stored image decoded once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.engine.stage import Outcome, PlannedPartition
from x2i.errors import UserError
from x2i.reasons import Dropped, DroppedError, Reason, Status
from x2i.store import Dataset, paths
from x2i.store.columns import write_column
from x2i.store.commits import Counts
from x2i.store.files.tar import read_range
from x2i.store.images import read_image_index

BATCH = 16
MAX_PIXELS = 2**31  # what the store holds has passed the crawl's own limit
LOCATION = ("key", "offset", "size")


@dataclass(frozen=True)
class Annotation:
    """What a stage has to say about one image.

    rows: its rows of the column, without `key`: usually one, for some stages several or none.
    dropped: why the image counts as dropped in the stage's report; None if it counts as ok.
    """

    rows: tuple[Mapping[str, Any], ...]
    dropped: Reason | None = None


class Annotator(Protocol):
    """Does one stage's work on images, in the process that runs it: it holds the models."""

    schema: pa.Schema
    """The column's fields, `key` (string) first."""
    needs_pixels: bool
    """False if the planned rows are enough; then no image is read and `images` are None."""

    def annotate(
        self, rows: Sequence[Mapping[str, Any]], images: Sequence[NDArray[np.uint8] | None]
    ) -> list[Annotation]:
        """Takes planned rows with their images, uint8 RGB (height, width, 3). Returns one Annotation per image."""
        ...


class AnnotateStage(ABC):
    """A stage that adds a column. Its plan has the stored images of one image partition, in key order.

    A subclass is a frozen dataclass of the stage's options. needs: fields of the image index that the annotator reads.
    """

    needs: tuple[str, ...] = ()

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    @abstractmethod
    def format_version(self) -> int: ...

    @property
    @abstractmethod
    def column(self) -> str:
        """The column's name under columns/."""

    @abstractmethod
    def config(self) -> Mapping[str, Any]: ...

    @abstractmethod
    def annotator(self) -> Annotator:
        """Makes the annotator, models loaded."""

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return {f"images/{commit.partition}": commit.outputs_digest for commit in dataset.image_commits()}

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition per committed image partition. Raises UserError if there is none."""
        commits = dataset.image_commits()
        if not commits:
            raise UserError(f"{dataset.root}: no images yet: run `x2i crawl` first")
        for commit in commits:
            index = read_image_index(dataset.root, commit.partition, ["status", *LOCATION, *self.needs])
            rows = index.filter(pc.equal(index["status"], str(Status.OK))).drop_columns(["status"])
            inputs = {f"images/{commit.partition}": commit.outputs_digest}
            yield PlannedPartition(commit.partition, rows, self.config(), inputs)

    def worker(self, root: Path) -> AnnotateWorker:
        return AnnotateWorker(root, self.column, self.annotator())


class AnnotateWorker:
    """Reads the planned images of a partition in batches and writes the annotations as a column partition."""

    def __init__(self, root: Path, column: str, annotator: Annotator) -> None:
        import cv2

        cv2.setNumThreads(1)  # the engine runs one worker per CPU
        self._root, self._column, self._annotator = root, column, annotator

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        written: list[dict[str, Any]] = []
        filtered: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for batch in rows.to_batches(max_chunksize=BATCH):
            planned = batch.to_pylist()
            images = [self._decode(partition, row) for row in planned]
            for row, annotation in zip(planned, self._annotator.annotate(planned, images), strict=True):
                written.extend({"key": row["key"], **fields} for fields in annotation.rows)
                if annotation.dropped is not None:
                    status = Dropped(annotation.dropped).status
                    (failed if status is Status.FAILED else filtered)[str(annotation.dropped)] += 1
        table = pa.Table.from_pylist(written, schema=self._annotator.schema)
        path = write_column(self._root, self._column, partition, table)
        ok = rows.num_rows - filtered.total() - failed.total()
        return Outcome((path,), Counts(ok, dict(sorted(filtered.items())), dict(sorted(failed.items()))))

    def _decode(self, partition: str, row: Mapping[str, Any]) -> NDArray[np.uint8] | None:
        return read_stored_image(self._root, partition, row) if self._annotator.needs_pixels else None


def read_stored_image(root: Path, partition: str, row: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Returns the pixels, uint8 RGB (height, width, 3), of the stored image located by `row` (key, offset, size).

    Raises UserError if it does not decode: everything in the store once did, so the store is damaged.
    """
    from x2i.image import decode

    path = paths.image_tar(root, partition)
    try:
        return decode(read_range(path, row["offset"], row["size"]), max_pixels=MAX_PIXELS)
    except DroppedError as error:
        raise UserError(
            f"{path}: stored image {row['key']} does not decode ({error}): the store is damaged; run `x2i verify`, "
            f"then crawl this partition again"
        ) from error
