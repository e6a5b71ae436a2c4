"""entity-clusters joins objects and faces whose vectors are near, across images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from pipelines.stages.relate.entity_clusters import EntityClustersStage
from tests.support.command_line import typed
from tests.support.datasets import commit
from tests.support.photographs import photograph
from tests.support.stored_images import Given, store
from x2i.annotate.entity_embeddings import EntityEmbeddings
from x2i.errors import UserError
from x2i.store import Dataset
from x2i.store.columns import write_column
from x2i.store.commits import Counts
from x2i.tables import TableSpec
from x2i.takedown.tables import rewrite_rows

INLINE = RunOptions(executor=Executor.INLINE)
BOXES = {0: [(20, 30, 84, 94)], 1: [(0, 0, 64, 64), (90, 10, 154, 74)], 2: [(5, 5, 12, 60)]}
SHOWN = {(0, 0): "coffee.png", (1, 0): "grass.png", (1, 1): "coffee.png", (2, 0): "grass.png"}


def dataset_with_entities(root: Path) -> Dataset:
    """Three pages, with a coffee on two of them: at other places, once darker."""
    pages = []
    for image, boxes in BOXES.items():
        page = np.full((120, 180, 3), 60 * image, np.uint8)
        for number, (x0, y0, x1, y1) in enumerate(boxes):
            shown = cv2.resize(photograph(SHOWN[image, number], 256), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
            page[y0:y1, x0:x1] = shown * (0.8 if image else 1)
        pages.append(Given(page))
    dataset = store(root, pages)
    keys = dataset.images()["key"].to_pylist()
    rows = [
        {"key": keys[image], "entity": number, **dict(zip(("x0", "y0", "x1", "y1"), box))}
        for image, boxes in BOXES.items()
        for number, box in enumerate(boxes)
    ]
    table = pa.Table.from_pylist(rows)
    spec = TableSpec("entities", "entities", "detect", table.schema, rows="many")
    path = write_column(dataset.root, "entities", "00000", table, spec)
    commit(dataset.root, "entities", "00000", [path], Counts(3))
    return dataset


def clusters(dataset: Dataset) -> dict[tuple[int, int], tuple[int, int, int]]:
    """Returns for each object (image, number) the one it is like, and the size of the cluster."""
    keys = dataset.images()["key"].to_pylist()
    rows = dataset.relation("entity_clusters").to_pylist()
    return {
        (keys.index(row["key"]), row["number"]): (
            keys.index(row["cluster_key"]), row["cluster_number"], row["members"],
        )
        for row in rows
    }  # fmt: skip


def test_the_same_object_in_two_images_is_one_cluster_and_a_takedown_clusters_anew(tmp_path: Path) -> None:
    dataset = dataset_with_entities(tmp_path / "d")
    execute([AnnotateStage(EntityEmbeddings(margin=0))], dataset, INLINE)
    table = dataset.column("entity_embeddings")
    assert [(row["key"][-1], row["entity"]) for row in table.to_pylist()] == [("0", 0), ("1", 0), ("1", 1)]
    assert np.allclose(np.linalg.norm(table["embedding"].to_pylist(), axis=1), 1, atol=1e-3)
    assert typed("entity-clusters", dataset.root, "--similarity", 0.9, "--executor", "inline") == 0
    assert clusters(dataset) == {(0, 0): (0, 0, 2), (1, 0): (1, 0, 1), (1, 1): (0, 0, 2)}
    assert typed("select", dataset.root, "EXISTS (SELECT 1 FROM entity_clusters e WHERE e.key = images.key)") == 0
    gone = dataset.images()["key"][0].as_py()
    rewrite_rows(dataset, "relations/entity_clusters.parquet", {gone})
    assert clusters(dataset) == {(1, 0): (1, 0, 1), (1, 1): (1, 1, 1)}


def test_other_columns_and_fields_are_named_and_missing_ones_told(tmp_path: Path) -> None:
    dataset = store(tmp_path / "d", [Given(np.full((40, 40, 3), 90, np.uint8))] * 2)
    with pytest.raises(UserError, match=r"reads 'faces', which has not been made: run `x2i annotate faces` first"):
        execute([EntityClustersStage(vectors="faces")], dataset, INLINE)
    keys = dataset.images()["key"].to_pylist()
    rows = [{"key": key, "face": face, "vector": [1.0, float(face)]} for key in keys for face in (0, 1)]
    table = pa.Table.from_pylist(rows)
    spec = TableSpec("faces", "faces", "annotate", table.schema, rows="many")
    commit(dataset.root, "faces", "00000", [write_column(dataset.root, "faces", "00000", table, spec)], Counts(2))
    with pytest.raises(UserError, match=r"column 'faces' has no field 'embedding'; it has: key, face, vector"):
        execute([EntityClustersStage(vectors="faces")], dataset, INLINE)
    execute([EntityClustersStage(vectors="faces", field="vector", number="face")], dataset, INLINE)
    assert clusters(dataset) == {(0, 0): (0, 0, 2), (0, 1): (0, 1, 2), (1, 0): (0, 0, 2), (1, 1): (0, 1, 2)}
