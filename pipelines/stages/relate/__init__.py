"""Stages that relate stored images to each other; each has one partition, since a row may join any two images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine.stage import Outcome
from x2i.errors import UserError
from x2i.models.backend import Backend
from x2i.models.registry import resolved
from x2i.options import as_config
from x2i.reasons import Status
from x2i.registry import Registry
from x2i.store import Dataset
from x2i.store.columns import write_relation
from x2i.store.commits import Counts
from x2i.store.query.views import list_views

PARTITION = "00000"


class RelationStage:
    """What the stages of relations share. Each is a frozen dataclass, its fields and docstring those of its command."""

    def config(self) -> dict[str, Any]:
        return as_config(self)

    def check_models(self) -> None:
        """Raises UserError if a backend that an option names does not exist; nothing is loaded."""


class RelationWorker(ABC):
    """Makes a relation from the planned images and writes it. A subclass says how, in `relate`."""

    def __init__(self, dataset: Dataset, stage: Any) -> None:
        self._dataset, self._stage = dataset, stage

    @abstractmethod
    def relate(self, images: pa.Table) -> pa.Table:
        """Returns the rows of the relation among `images`, the planned rows."""

    def counts(self, images: pa.Table, table: pa.Table) -> Counts:
        """Returns what became of the planned `images` in `table`, what `relate` made of them."""
        found: Counts = self._stage.count(self._dataset, images, table)
        return found

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        table = self.relate(rows)
        path = write_relation(self._dataset.root, self._stage.spec.name, table, self._stage.spec)
        return Outcome((path,), self.counts(rows, table))


RELATION_STAGES: Registry[Any] = Registry(
    "relation stage",
    {
        "dedup": "pipelines.stages.relate.duplicates:DuplicatesStage",
        "semantic-dedup": "pipelines.stages.relate.semantic_duplicates:SemanticDuplicatesStage",
        "entity-clusters": "pipelines.stages.relate.entity_clusters:EntityClustersStage",
        "repeats": "pipelines.stages.relate.caption_repeats:CaptionRepeatsStage",
        "subjects": "pipelines.stages.relate.subjects:SubjectsStage",
        "subject-entities": "pipelines.stages.relate.entities:SubjectEntitiesStage",
        "subject-frames": "pipelines.stages.relate.frames:SubjectFramesStage",
        "frame-pairs": "pipelines.stages.relate.frames:FramePairsStage",
    },
)
"""Command and step of a manifest -> its stage."""


def stored_images(dataset: Dataset, fields: list[str]) -> pa.Table:
    """Returns these fields of the index of every stored image, in key order. Raises UserError if there is none."""
    if not dataset.image_commits():
        raise UserError(f"{dataset.root}: no images yet: run `x2i crawl` first")
    index = dataset.images(["status", *fields])
    return index.filter(pc.equal(index["status"], str(Status.OK))).select(fields).combine_chunks()


def image_inputs(dataset: Dataset) -> dict[str, str]:
    """Returns the digests of all partitions of the image store, by name."""
    return {f"images/{commit.partition}": commit.outputs_digest for commit in dataset.image_commits()}


def model_config(found: Backend) -> list[Any]:
    """Returns what decides the results of a backend, as JSON values: its revision, and its options."""
    return [resolved(found), as_config(found)]


def table_inputs(dataset: Dataset, *names: str) -> dict[str, str]:
    """Returns the digests of the files of those columns and relations that exist, by path."""
    views = list_views(dataset)
    return {path: digest for name in names if name in views for path, digest in views[name].digests.items()}
