"""`x2i subjects`: finds images that show the same thing in different pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer
from numpy.typing import NDArray

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.engine.stage import Outcome, PlannedPartition
from x2i.command_options import with_options
from x2i.errors import UserError
from x2i.reasons import Reason
from x2i.store import Dataset
from x2i.store.columns import write_relation
from x2i.store.commits import Counts, list_commits
from x2i.store.images import read_stored_image

PAIR_SCHEMA = pa.schema(
    [
        ("key_a", pa.string()),  # key_a < key_b
        ("key_b", pa.string()),
        ("matches", pa.int32()),
        ("inliers", pa.int32()),
        ("inlier_ratio", pa.float32()),
        ("area_ratio", pa.float32()),  # of the image where it is smaller: share that the inliers' convex hull covers
        ("model", pa.string()),  # "homography" or "fundamental"
        ("method", pa.string()),  # the matcher
        ("phash_distance", pa.int32()),
    ]
)
PARTITION = "00000"
BATCH = 16


@dataclass(frozen=True)
class SubjectsStage:
    """images, duplicates, embeddings -> relations/subject_pairs. One partition: a pair may join any two images.

    Memory: the matcher's features of every image that is no duplicate, about 150 kB each, and one batch of images.
    """

    matcher: str = "classic:sift"
    embeddings: str = "embeddings"
    neighbors: int = 10
    min_inliers: int = 15
    near_distance: int = 10

    name = "subjects"
    format_version = 1

    def config(self) -> dict[str, Any]:
        return {
            "matcher": self.matcher,
            "embeddings": self.embeddings,
            "neighbors": self.neighbors,
            "min_inliers": self.min_inliers,
            "near_distance": self.near_distance,
        }

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        read = {f"images/{commit.partition}": commit.outputs_digest for commit in dataset.image_commits()}
        for stage in ("dedup", self.embeddings):
            commits = list_commits(dataset.root, stage)
            read.update({f"{stage}/{commit.partition}": commit.outputs_digest for commit in commits})
        return read

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition: every stored image with its hash, its place in the store and its duplicate cluster.

        Raises UserError if `dedup` or `embed` has not run over every image.
        """
        column = self.embeddings
        index = dataset.images(["key", "status", "phash", "offset", "size"])
        rows = index.filter(pc.equal(index["status"], "ok")).drop_columns(["status"])
        duplicates = dataset.relation("duplicates")
        _require_same_keys(dataset, rows, duplicates, "relation 'duplicates'", "x2i dedup")
        _require_same_keys(dataset, rows, dataset.column(column), f"column {column!r}", "x2i embed")
        for name in ("cluster", "is_duplicate"):
            rows = rows.append_column(name, duplicates[name])
        yield PlannedPartition(PARTITION, rows.combine_chunks(), self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> SubjectsWorker:
        return SubjectsWorker(root, self)


class SubjectsWorker:
    """Extracts features image by image, then compares candidates."""

    def __init__(self, root: Path, stage: SubjectsStage) -> None:
        import cv2

        from x2i.models import registry
        from x2i.relate.subjects import SubjectRule

        cv2.setNumThreads(1)
        self._root, self._stage = root, stage
        self._matcher = registry.load(registry.Ability.INSTANCE_MATCHER, stage.matcher)
        self._rule = SubjectRule(
            min_inliers=stage.min_inliers, near_distance=stage.near_distance, neighbors=stage.neighbors
        )

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        from x2i.relate.subjects import find_pairs
        from x2i.store import paths

        kept = rows.filter(pc.invert(rows["is_duplicate"]))
        planned = kept.to_pylist()
        keys = [row["key"] for row in planned]

        def read_image(row: int) -> NDArray[np.uint8]:
            return read_stored_image(self._root, paths.image_partition(keys[row]), planned[row])

        features: list[Any] = []
        for start in range(0, len(keys), BATCH):
            features += self._matcher.features([read_image(i) for i in range(start, min(start + BATCH, len(keys)))])
        hashes = kept["phash"].to_numpy().astype(np.uint64)
        pairs = [
            {
                "key_a": keys[pair.a],
                "key_b": keys[pair.b],
                "matches": pair.match.matches,
                "inliers": pair.match.inliers,
                "inlier_ratio": pair.match.inlier_ratio,
                "area_ratio": pair.area_ratio,
                "model": pair.match.model,
                "method": self._stage.matcher,
                "phash_distance": pair.phash_distance,
            }
            for pair in find_pairs(features, self._embeddings(kept), hashes, read_image, self._matcher, self._rule)
        ]
        path = write_relation(self._root, "subject_pairs", pa.Table.from_pylist(pairs, schema=PAIR_SCHEMA))
        paired = len({key for pair in pairs for key in (pair["key_a"], pair["key_b"])})
        dropped = {str(Reason.DUPLICATE): rows.num_rows - len(keys), str(Reason.NO_PAIR): len(keys) - paired}
        return Outcome((path,), Counts(paired, {reason: count for reason, count in dropped.items() if count}))

    def _embeddings(self, kept: pa.Table) -> NDArray[np.float32]:
        table = Dataset.open(self._root).column(self._stage.embeddings)
        table = table.filter(pc.is_in(table["key"], kept["key"].combine_chunks()))
        vectors = table["embedding"].combine_chunks()
        if not kept.num_rows:
            return np.zeros((0, 0), np.float32)
        return vectors.flatten().to_numpy().reshape(kept.num_rows, -1).astype(np.float32)


def _require_same_keys(dataset: Dataset, rows: pa.Table, other: pa.Table, what: str, command: str) -> None:
    if other["key"].to_pylist() != rows["key"].to_pylist():
        raise UserError(
            f"{dataset.root}: {what} has {other.num_rows} images, the store has {rows.num_rows}: run `{command}` again"
        )


@with_options
def command(
    dataset: DatasetArgument,
    matcher: Annotated[
        str, typer.Option(help="Which matcher decides. classic:sift compares local features and checks the geometry.")
    ] = "classic:sift",
    embeddings: Annotated[
        str,
        typer.Option(help="The column of embeddings that gives candidates beside those that local features vote for."),
    ] = "embeddings",
    neighbors: Annotated[int, typer.Option(min=1, help="Candidates per image from each of the two.")] = 10,
    min_inliers: Annotated[
        int, typer.Option(min=8, help="Places that must agree on one geometry. More: fewer, surer pairs.")
    ] = 15,
    near_distance: Annotated[
        int,
        typer.Option(min=0, max=64, help="Pairs whose perceptual hashes differ in at most so many bits are left out."),
    ] = 10,
    *,
    run: RunOptions,
) -> None:
    """Find pairs of images that show the same thing, for training on "the subject of this image, in another picture".

    Writes the relation `subject_pairs`. A pair must agree on one geometry over a good part of both images. Duplicates,
    near-duplicates and plain cut-outs with the same light are not pairs: they would teach a model to copy. Run
    `x2i dedup` and `x2i embed` first.

    Example: x2i subjects my-dataset --matcher classic:sift --neighbors 10
    """
    from pipelines.engine.run import run_stages
    from x2i.models import registry

    registry.backend(registry.Ability.INSTANCE_MATCHER, matcher)
    stage = SubjectsStage(matcher, embeddings, neighbors, min_inliers, near_distance)
    run_stages([stage], Dataset.open(dataset), run)
