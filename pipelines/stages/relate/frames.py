"""The stages of the relations `subject_frames` and `frame_pairs`: both go through the stored clips one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.engine.stage import PlannedPartition
from pipelines.stages.relate import (
    PARTITION,
    RelationStage,
    RelationWorker,
    image_inputs,
    model_config,
    stored_images,
    table_inputs,
)
from x2i.models import registry
from x2i.models.abilities import RgbImage
from x2i.models.backend import Backend, fetched_once
from x2i.relate.frame_pairs import FramePairs
from x2i.relate.frames import Frame, clips
from x2i.relate.subject_frames import SubjectFrames
from x2i.relate.subject_rows import subject_table
from x2i.resources import Resources
from x2i.store import Dataset
from x2i.store.images import read_stored_image
from x2i.store.paths import image_partition
from x2i.store.query.views import list_views

FIELDS = ["key", "url", "extra", "height", "width", "data_offset", "data_size"]
FRAMES_KEPT = 32


class ClipsStage(RelationStage):
    """What both stages plan: one partition with every stored image; frames are found by what their crawl wrote."""

    format_version = 1
    tables: tuple[str, ...] = ()

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return image_inputs(dataset) | table_inputs(dataset, *self.tables)

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        yield PlannedPartition(PARTITION, stored_images(dataset, FIELDS), self.config(), self.inputs(dataset))


@dataclass(frozen=True)
class SubjectFramesStage(ClipsStage, SubjectFrames):
    """Find objects of a frame that a later frame of the same clip shows too, for training on "IMG1 in this scene".

    Writes the relation `subject_frames`: the objects as the last frame shows them in which all remain, and the base
    frame as the target. Crawl videos with a short `--frame-interval`, such as 0.5, and run `x2i detect` first.
    With `--tracker hf:facebook/sam2.1-hiera-tiny` SAM2 follows the objects in place of optical flow.

    x2i subject-frames my-dataset --span 8
    """

    name = SubjectFrames.spec.name
    format_version = 2
    writes = name

    @property
    def tables(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.entities, self.captions)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("images", *self.tables)

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields the partition. Raises UserError if there are no images or no entities."""
        dataset.column(self.entities)
        yield from super().plan(dataset)

    def check_models(self) -> None:
        registry.backend(registry.Ability.IMAGE_EMBEDDER, self.embedder)
        self.tracker_backend()

    def tracker_backend(self) -> Backend:
        """Returns the tracker, not loaded. Raises UserError for a faulty name or option."""
        return registry.backend(registry.Ability.TRACKER, self.tracker, self.tracker_set)

    @property
    def resources(self) -> Resources:
        return self.tracker_backend().resources

    def config(self) -> dict[str, Any]:
        return {**super().config(), "tracker_set": model_config(self.tracker_backend())}

    def worker(self, root: Path) -> SubjectFramesWorker:
        return SubjectFramesWorker(Dataset.open(root), self)


@dataclass(frozen=True)
class FramePairsStage(ClipsStage, FramePairs):
    """Find two frames of a clip that differ by what moved before a camera that stood still, for training on edits.

    Writes the relation `frame_pairs`. Where the column `entities` names an object that can be followed from one frame
    to the other, the row says how it moved, and the recipe frame_edit makes words of it.

    x2i frame-pairs my-dataset --span 3
    """

    name = FramePairs.spec.name
    writes = name

    @property
    def tables(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.entities,)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("images", *self.tables)

    def worker(self, root: Path) -> FramePairsWorker:
        return FramePairsWorker(Dataset.open(root), self)


class SubjectFramesWorker(RelationWorker):
    """Follows the objects of base frames through their clips."""

    def __init__(self, dataset: Dataset, stage: SubjectFramesStage) -> None:
        super().__init__(dataset, stage)
        self._embedder = registry.load(registry.Ability.IMAGE_EMBEDDER, stage.embedder)
        fetched_once(stage.tracker_backend())
        self._tracker = stage.tracker_backend().load()

    def relate(self, images: pa.Table) -> pa.Table:
        options, frames = self._stage, Frames(self._dataset)
        entities, captions = _rows(self._dataset, options.entities), {}
        for key, found in _rows(self._dataset, options.captions).items():
            if found[0]["caption"]:
                captions[key] = found[0]["caption"]
        found_rows = [
            row
            for clip in clips(images.to_pylist())
            for row in options.find(clip, entities, captions, frames.read, self._embedder, self._tracker)
        ]
        return subject_table(found_rows)


class FramePairsWorker(RelationWorker):
    """Compares the frames of each clip."""

    def relate(self, images: pa.Table) -> pa.Table:
        options, frames = self._stage, Frames(self._dataset)
        entities = _rows(self._dataset, options.entities)
        found = [row for clip in clips(images.to_pylist()) for row in options.find(clip, entities, frames.read)]
        return pa.Table.from_pylist(found, schema=options.spec.schema)


class Frames:
    """Reads stored frames; the last FRAMES_KEPT stay decoded."""

    def __init__(self, dataset: Dataset) -> None:
        @lru_cache(FRAMES_KEPT)
        def read(key: str, offset: int, size: int) -> RgbImage:
            place = {"key": key, "data_offset": offset, "data_size": size}
            return read_stored_image(dataset.root, image_partition(key), place)

        self._read = read

    def read(self, frame: Frame) -> RgbImage:
        return self._read(frame.key, frame.row["data_offset"], frame.row["data_size"])


def _rows(dataset: Dataset, column: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Returns key -> the rows of a column about it; nothing if it has not been made."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    if column in list_views(dataset):
        for row in dataset.column(column).to_pylist():
            found.setdefault(row["key"], []).append(row)
    return found
