"""Embeddings of images and of objects: lists of a fixed size, of 16-bit floats, that other libraries open."""

from __future__ import annotations

import datasets
import numpy as np
import pyarrow as pa
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from tests.support.photos import photo
from tests.support.stored_images import Given, store
from tests.support.tiny_models import save_dinov2
from x2i.annotate.base import Found, StoredImage
from x2i.annotate.embeddings import Embeddings
from x2i.annotate.entity_embeddings import EntityEmbeddings
from x2i.image import decode
from x2i.models.registry import Ability, load
from x2i.reasons import Dropped
from x2i.store import paths

PICTURES = [photo(name, 128) for name in ("coffee", "astronaut")]


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    return f"hf:{save_dinov2(tmp_path_factory.mktemp('vectors') / 'dinov2')}"


@pytest.fixture(scope="module")
def dataset(dinov2, tmp_path_factory):
    made = store(tmp_path_factory.mktemp("vectors") / "d", [Given(picture) for picture in PICTURES])
    execute([AnnotateStage(Embeddings(model=dinov2))], made, RunOptions(executor=Executor.INLINE))
    return made


def test_a_column_of_vectors_has_the_models_size_and_its_numbers(dataset, dinov2):
    table = dataset.column("embeddings")
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), 16)
    stored_ND = np.stack(table["embedding"].to_numpy())
    exact_ND = load(Ability.IMAGE_EMBEDDER, dinov2).embed(
        [decode(dataset.image(key)[1]) for key in table["key"].to_pylist()]
    )
    assert np.abs(stored_ND.astype(np.float32) - exact_ND).max() < 5e-4


def test_sql_and_hugging_face_open_it(dataset, tmp_path):
    ((angle,),) = dataset.query(
        "SELECT list_cosine_similarity(a.embedding, b.embedding) FROM embeddings a, embeddings b WHERE a.key < b.key"
    ).fetchall()
    a, b = np.stack(dataset.column("embeddings")["embedding"].to_numpy()).astype(np.float64)
    assert angle == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
    file = str(paths.column_file(dataset.root, "embeddings", "00000"))
    rows = datasets.load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path))
    assert rows.features["embedding"] == datasets.List(datasets.Value("float16"), length=16)
    assert np.allclose(rows[0]["embedding"], a)


def test_an_object_is_embedded_as_its_cut_out_image(dinov2):
    boxes = [(10, 20, 70, 70), (0, 0, 20, 80), (100, 40, 128, 80)]
    rows = [{"entity": n, **dict(zip(("x0", "y0", "x1", "y1"), box))} for n, box in enumerate(boxes)]
    image = StoredImage("k", {}, {"entities": rows}, PICTURES[0])
    alone = StoredImage("l", {}, {"entities": []}, PICTURES[0])
    found, nothing = EntityEmbeddings(model=dinov2, margin=0.1, least_side=24).load().annotate([image, alone])
    assert isinstance(nothing, Dropped)
    assert isinstance(found, Found)
    assert [row["entity"] for row in found.rows] == [0, 2]
    crops = [PICTURES[0][15:75, 4:76].copy(), PICTURES[0][36:84, 97:128].copy()]
    exact_ND = load(Ability.IMAGE_EMBEDDER, dinov2).embed(crops)
    assert np.abs(np.stack([row["embedding"] for row in found.rows]) - exact_ND).max() < 5e-4
