"""The stage of the relation `subject_pairs`."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
from x2i.errors import UserError
from x2i.models import registry
from x2i.models.abilities import InstanceMatcher, RgbImage
from x2i.models.backend import Backend, fetched_once
from x2i.reasons import Reason
from x2i.relate.caps import capped
from x2i.relate.duplicates import Duplicates
from x2i.relate.names import name_groups
from x2i.relate.subject_pairs import SubjectPairs, unique_images
from x2i.relate.subject_rows import SubjectRow, subject_table
from x2i.resources import Resources
from x2i.store import Dataset
from x2i.store.commits import Counts
from x2i.store.images import read_stored_image
from x2i.store.paths import image_partition
from x2i.store.query.views import list_views

BATCH = 16
FEATURES_KEPT = 8192
"""Images whose features are held: about 1.2 GB of SIFT's. The others' are made again when they are compared."""
IMAGES_KEPT = 32
"""Decoded images that are held for the judge, who sees those with one target one after another."""
GROUPS = ("page", "host", "names")


@dataclass(frozen=True)
class SubjectsStage(RelationStage, SubjectPairs):
    """Find pairs of images that show the same thing, for training on "the subject of this image, in another picture".

    Writes the relation `subject_pairs`. A pair must agree on one geometry over a good part of both images;
    `--crops` and `--people` add pairs of alike objects, and of the same person where you turned them on. Duplicates,
    near-duplicates and plain cut-outs with the same light are not pairs: they would teach a model to copy. With
    `--judge` a vision-language model has to confirm each pair. Run `x2i dedup` and `x2i embed` first.

    x2i subjects my-dataset --matcher classic:sift --neighbors 10
    """

    name = SubjectPairs.spec.name
    format_version = 4
    writes = name

    def __post_init__(self) -> None:
        unknown = sorted(set(self.within) - set(GROUPS))
        if unknown:
            raise UserError(f"subjects: within: expected {', '.join(GROUPS)}; found {unknown[0]!r}")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("images", *self._needed, self.captions)

    @property
    def _needed(self) -> tuple[str, ...]:
        more = [name for name, wanted in ((self.faces, self.people), (self.entities, bool(self.crops))) if wanted]
        return (Duplicates.spec.name, self.embeddings, *more)

    @property
    def resources(self) -> Resources:
        return self.judge_backend().resources if self.judge else Resources()

    def judge_backend(self) -> Backend:
        """Returns the judge, not loaded. Raises UserError for a faulty name or option."""
        from x2i.relate.subject_judge import PROMPT

        options = {"prompt": PROMPT, "max_tokens": 64, **self.judge_set}
        return registry.backend(registry.Ability.JUDGE, self.judge, options)

    def check_models(self) -> None:
        registry.backend(registry.Ability.INSTANCE_MATCHER, self.matcher)
        if self.judge:
            self.judge_backend()

    def config(self) -> dict[str, Any]:
        found = registry.backend(registry.Ability.INSTANCE_MATCHER, self.matcher)
        revision = {"matcher_revision": registry.resolved(found)} if found.model else {}
        return {**super().config(), **revision, "judge_set": model_config(self.judge_backend()) if self.judge else []}

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return image_inputs(dataset) | table_inputs(dataset, *self._needed, self.captions)

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition: every stored image with its hash and its place in the store.

        Raises UserError if the duplicates or the embeddings are not those of every stored image.
        """
        rows = stored_images(
            dataset, ["key", "phash", "data_offset", "data_size", "width", "height", "page_url", "host"]
        )
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
        for name in self._needed[2:]:
            dataset.column(name)
        yield PlannedPartition(PARTITION, rows, self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> SubjectsWorker:
        return SubjectsWorker(Dataset.open(root), self)


class SubjectsWorker(RelationWorker):
    """Finds the candidates, compares them, and caps what is found."""

    def __init__(self, dataset: Dataset, stage: SubjectsStage) -> None:
        import cv2

        from x2i.models import registry

        cv2.setNumThreads(1)
        super().__init__(dataset, stage)
        self._matcher = registry.load(registry.Ability.INSTANCE_MATCHER, stage.matcher)
        self._unconfirmed: dict[str, Reason] = {}

    def relate(self, images: pa.Table) -> pa.Table:
        pairs = self._stage
        images = unique_images(self._dataset, images)
        planned = images.to_pylist()

        def read_image(row: int) -> NDArray[np.uint8]:
            return read_stored_image(self._dataset.root, image_partition(planned[row]["key"]), planned[row])

        features = FeaturesOnDemand(self._matcher, read_image, len(planned))
        groups = {kind: self._groups(kind, images) for kind in pairs.within}
        embeddings_ND = self._embeddings(images)
        found = pairs.find(images, features, embeddings_ND, read_image, self._matcher, groups)
        found += self._alike_objects(images, read_image) + self._people(images)
        pages = dict(zip(images["key"].to_pylist(), images["page_url"].to_pylist()))
        rows = capped(found, pages, pairs.per_image, pairs.per_subject, pairs.per_page)
        return subject_table(self._judged(rows, images, read_image))

    def counts(self, images: pa.Table, table: pa.Table) -> Counts:
        """Counts as the relation does, and of the images without a pair those whose pairs the judge did not confirm."""
        paired = set(self._stage.spec.images_in(table).to_pylist())
        lost = Counter(str(reason) for key, reason in self._unconfirmed.items() if key not in paired)
        found = super().counts(images, table)
        filtered = Counter(found.filtered) - Counter({str(Reason.NO_PAIR): lost.total()}) + lost
        return replace(found, filtered=dict(filtered))

    def _judged(
        self, rows: list[SubjectRow], images: pa.Table, read_image: Callable[[int], RgbImage]
    ) -> list[SubjectRow]:
        if not self._stage.judge or not rows:
            return rows
        from x2i.relate.subject_judge import JudgeRule, judged_rows

        backend, place = self._stage.judge_backend(), _places(images)
        fetched_once(backend)
        rule = JudgeRule(self._stage.references, self._stage.yes_rate, backend.batch_size)
        read = lru_cache(IMAGES_KEPT)(lambda key: read_image(place[key]))
        kept, lost = judged_rows(rows, read, backend.load(), rule)
        for row, reason in lost:
            for key in row.keys:
                if self._unconfirmed.get(key) is not Reason.JUDGED_DIFFERENT:
                    self._unconfirmed[key] = reason
        return kept

    def _groups(self, kind: str, images: pa.Table) -> list[str]:
        if kind != "names":
            found: list[str] = images["page_url" if kind == "page" else kind].to_pylist()
            return found
        if self._stage.captions not in list_views(self._dataset):
            return [""] * images.num_rows
        table = self._dataset.column(self._stage.captions)
        captions = dict(zip(table["key"].to_pylist(), table["caption"].to_pylist()))
        return name_groups([captions.get(key) or "" for key in images["key"].to_pylist()])

    def _alike_objects(self, images: pa.Table, read_image: Callable[[int], RgbImage]) -> list[SubjectRow]:
        if not self._stage.crops:
            return []
        from x2i.models import registry
        from x2i.relate.subject_crops import crop_rows

        embedder = registry.load(registry.Ability.IMAGE_EMBEDDER, self._stage.crops)
        place = _places(images)
        objects = self._rows_about(self._stage.entities, images).to_pylist()
        bounds = (self._stage.same_crop, self._stage.most_similar)
        neighbors = self._stage.neighbors
        return crop_rows(objects, _sizes(images), lambda key: read_image(place[key]), embedder, neighbors, *bounds)

    def _people(self, images: pa.Table) -> list[SubjectRow]:
        if not self._stage.people:
            return []
        from x2i.relate.subject_people import PeopleRule, person_rows

        pairs = self._stage
        rule = PeopleRule(pairs.same_person, pairs.references, pairs.yes_rate, pairs.per_image)
        return person_rows(self._rows_about(pairs.faces, images), _sizes(images), rule)

    def _rows_about(self, column: str, images: pa.Table) -> pa.Table:
        table = self._dataset.column(column)
        return table.filter(pc.is_in(table["key"], images["key"].combine_chunks()))

    def _embeddings(self, images: pa.Table) -> NDArray[np.float32]:
        """Returns embeddings_ND of the images."""
        vectors = self._rows_about(self._stage.embeddings, images)["embedding"].combine_chunks()
        if not images.num_rows:
            return np.zeros((0, 0), np.float32)
        return vectors.flatten().to_numpy().reshape(images.num_rows, -1).astype(np.float32)


class FeaturesOnDemand(Sequence[Any]):
    """The matcher's features of each image, made when they are asked for; the last FEATURES_KEPT are held."""

    def __init__(self, matcher: InstanceMatcher, read_image: Callable[[int], RgbImage], count: int) -> None:
        self._matcher, self._read_image, self._count = matcher, read_image, count
        self._held: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        if not 0 <= row < self._count:
            raise IndexError(row)
        if row not in self._held:
            stop = min(row + BATCH, self._count) if row == len(self._held) else row + 1
            batch = range(row, stop)
            self._held.update(zip(batch, self._matcher.features([self._read_image(number) for number in batch])))
            while len(self._held) > FEATURES_KEPT:
                self._held.popitem(last=False)
        else:
            self._held.move_to_end(row)
        return self._held[row]


def _places(images: pa.Table) -> dict[str, int]:
    """Returns image key -> its row."""
    return {key: number for number, key in enumerate(images["key"].to_pylist())}


def _sizes(images: pa.Table) -> dict[str, tuple[int, int]]:
    """Returns image key -> height and width."""
    return {row["key"]: (row["height"], row["width"]) for row in images.select(["key", "height", "width"]).to_pylist()}
