"""`x2i dedup`: finds images that are there twice, byte for byte or to the eye, and says which one to keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.engine.stage import Outcome, PlannedPartition
from x2i.command_options import with_options
from x2i.errors import UserError
from x2i.reasons import Reason, Status
from x2i.store import Dataset
from x2i.store.columns import write_relation
from x2i.store.commits import Counts

DUPLICATES_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("cluster", pa.string()),  # key of the kept representative
        ("is_duplicate", pa.bool_()),
        ("kind", pa.string()),  # "exact": the representative's bytes; "near": looks like it; "": not a duplicate
        ("distance", pa.int32()),  # phash distance to the representative; may exceed max_distance through a chain
    ]
)
PARTITION = "00000"


@dataclass(frozen=True)
class DedupStage:
    """hashes of the image index -> relations/duplicates: one row per stored image, in key order."""

    max_distance: int = 6

    name = "dedup"
    format_version = 1

    def config(self) -> dict[str, Any]:
        return {"max_distance": self.max_distance}

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return {f"images/{commit.partition}": commit.outputs_digest for commit in dataset.image_commits()}

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields one partition with the hashes of every stored image. Raises UserError if there is none."""
        if not dataset.image_commits():
            raise UserError(f"{dataset.root}: no images yet: run `x2i crawl` first")
        index = dataset.images(["key", "status", "sha256", "phash", "width", "height"])
        rows = index.filter(pc.equal(index["status"], str(Status.OK))).drop_columns(["status"]).combine_chunks()
        if rows["phash"].null_count:
            key = rows.filter(pc.is_null(rows["phash"]))["key"][0].as_py()
            raise UserError(f"{dataset.root}: stored image {key} has no phash: crawl it again with this version")
        yield PlannedPartition(PARTITION, rows, self.config(), self.inputs(dataset))

    def worker(self, root: Path) -> DedupWorker:
        return DedupWorker(root, self.max_distance)


class DedupWorker:
    """Links equal bytes and near hashes, and keeps of each linked group the image with the most pixels."""

    def __init__(self, root: Path, max_distance: int) -> None:
        self._root, self._max_distance = root, max_distance

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        table = find_duplicates(rows, self._max_distance)
        path = write_relation(self._root, "duplicates", table)
        dropped = pc.sum(table["is_duplicate"]).as_py() or 0
        filtered = {str(Reason.DUPLICATE): dropped} if dropped else {}
        return Outcome((path,), Counts(table.num_rows - dropped, filtered))


def find_duplicates(images: pa.Table, max_distance: int) -> pa.Table:
    """Returns DUPLICATES_SCHEMA rows for `images` (key, sha256, phash, width, height), in the order given.

    Images linked by equal bytes or by a phash distance of at most max_distance, directly or through others, form a
    group. Its representative is the one with the most pixels, the first key if several have.
    """
    from x2i.relate.exact import exact_pairs
    from x2i.relate.near import clusters, hamming_distances, near_pairs

    keys = np.array(images["key"].to_pylist(), dtype=object)
    digests = np.array(images["sha256"].to_pylist(), dtype=object)
    hashes = images["phash"].to_numpy().astype(np.uint64)
    pixels = images["width"].to_numpy().astype(np.int64) * images["height"].to_numpy()
    pairs_P2 = np.concatenate([exact_pairs(digests.tolist()), near_pairs(hashes, max_distance)])
    group = clusters(len(keys), pairs_P2)
    order = np.lexsort((np.argsort(np.argsort(keys)), -pixels, group))
    best = {int(group[row]): int(row) for row in order[::-1]}
    kept = np.array([best[int(g)] for g in group], dtype=np.int64)
    is_duplicate = kept != np.arange(len(keys))
    kind = np.where(is_duplicate, np.where(digests == digests[kept], "exact", "near"), "")
    distance = hamming_distances(hashes, hashes[kept])
    columns = [keys.tolist(), keys[kept].tolist(), is_duplicate.tolist(), kind.tolist(), distance.tolist()]
    return pa.table(columns, schema=DUPLICATES_SCHEMA)


@with_options
def command(
    dataset: DatasetArgument,
    max_distance: Annotated[
        int,
        typer.Option(min=0, max=15, help="How many bits of the 64-bit perceptual hash two copies may differ in."),
    ] = 6,
    *,
    run: RunOptions,
) -> None:
    """Find images that are there more than once: the same bytes, or the same picture resized or compressed again.

    Writes the relation `duplicates`: for every image the one to keep in its place, the largest of its group. Nothing is
    deleted; leave duplicates out of shards with the selection "NOT duplicates.is_duplicate".

    Example: x2i dedup my-dataset --max-distance 6
    """
    from pipelines.engine.run import run_stages

    run_stages([DedupStage(max_distance)], Dataset.open(dataset), run)
