"""The annotating stages add one column partition per image partition, with every drop counted by its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.commands.caption import CaptionStage, page_text
from pipelines.commands.detect import ENTITY_SCHEMA, DetectStage
from pipelines.commands.embed import EmbedStage, embedding_column
from pipelines.commands.filter import FilterStage
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from tests.support.photographs import photograph
from tests.support.stored_images import Given, store
from x2i.errors import UserError
from x2i.image.rle import decode_mask
from x2i.models.abilities import PageText
from x2i.store import Dataset, paths
from x2i.store.columns import read_column
from x2i.store.commits import list_commits

INLINE = RunOptions(executor=Executor.INLINE)
STAGES = (FilterStage(), CaptionStage(), DetectStage(), EmbedStage())


def pictures() -> list[Given]:
    return [
        Given(photograph("rocket.jpg"), alt="A tall rocket stands on its launch pad"),
        Given(None),
        Given(photograph("coffee.png"), alt="IMG_0042.JPG", title="Coffee on a wooden table"),
        Given(np.full((64, 96, 3), 128, np.uint8), alt="image"),
        Given(photograph("chelsea.png"), alt="cat", figcaption="Chelsea the cat looks into the camera"),
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    dataset = store(tmp_path_factory.mktemp("annotate") / "d", pictures())
    for stage in STAGES:
        assert execute([stage], dataset, INLINE)[0].failed == {}
    return dataset


OK_KEYS = ["00000-00000", "00000-00002", "00000-00003", "00001-00000"]


@pytest.mark.parametrize("column", ["quality", "captions", "embeddings-hog-color"])
def test_a_column_has_one_row_per_stored_image_in_key_order(dataset, column):
    assert dataset.column(column)["key"].to_pylist() == OK_KEYS
    assert read_column(dataset.root, column, "00001").num_rows == 1
    assert dataset.column(column).schema.names[0] == "key"


def test_quality_holds_what_was_measured_of_the_stored_pixels(dataset):
    rows = dataset.column("quality").to_pylist()
    index = {row["key"]: row for row in dataset.images().to_pylist()}
    for row in rows:
        stored = index[row["key"]]
        assert row["min_side"] == min(stored["width"], stored["height"])
        assert row["aspect_ratio"] == pytest.approx(stored["width"] / stored["height"])
        assert (row["phash"] ^ stored["phash"]).bit_count() <= 2
    assert rows[2]["contrast"] == 0


def test_captions_name_their_source_and_missing_ones_are_counted(dataset):
    rows = dataset.column("captions").to_pylist()
    assert [(row["caption"], row["source"]) for row in rows] == [
        ("A tall rocket stands on its launch pad", "alt"),
        ("Coffee on a wooden table", "title"),
        (None, None),
        ("Chelsea the cat looks into the camera", "figcaption"),
    ]
    assert {(row["model"], row["revision"]) for row in rows} == {("alt-text", "1")}
    counts = [commit.counts for commit in list_commits(dataset.root, "caption")]
    assert [(c.ok, c.filtered, c.failed) for c in counts] == [(2, {"no_caption": 1}, {}), (1, {}, {})]


def test_captions_are_made_without_reading_a_pixel(tmp_path):
    dataset = store(tmp_path, pictures())
    for commit in dataset.image_commits():
        paths.image_tar(tmp_path, commit.partition).unlink()
    assert execute([CaptionStage()], dataset, INLINE)[0].counts.ok == 3


def test_entities_have_boxes_and_masks_of_the_stored_image(dataset):
    table = dataset.column("entities")
    assert table.schema.equals(ENTITY_SCHEMA)
    index = {row["key"]: row for row in dataset.images().to_pylist()}
    rows = table.to_pylist()
    assert {row["key"] for row in rows} >= {"00000-00000", "00000-00002"}
    for row in rows:
        image = index[row["key"]]
        assert 0 <= row["x0"] < row["x1"] <= image["width"]
        assert 0 <= row["y0"] < row["y1"] <= image["height"]
        assert 0 < row["score"] <= 1
        if row["mask_counts"] is not None:
            assert row["mask_size"] == [image["height"], image["width"]]
            assert decode_mask(row["mask_counts"], *row["mask_size"]).any()
    assert sum(row["mask_counts"] is not None for row in rows) >= 2


def test_phrases_are_unique_within_an_image(dataset):
    named = [(r["key"], r["phrase"]) for r in dataset.column("entities").to_pylist() if r["phrase"] is not None]
    assert named
    assert len(set(named)) == len(named)


def test_an_image_without_objects_is_counted(dataset):
    assert "00000-00003" not in dataset.column("entities")["key"].to_pylist()
    commit = next(iter(list_commits(dataset.root, "detect")))
    assert (commit.counts.ok, commit.counts.filtered) == (2, {"no_entity": 1})


def test_embeddings_are_unit_vectors(dataset):
    table = dataset.column("embeddings-hog-color")
    vectors = np.array(table["embedding"].to_pylist(), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert set(table["model"].to_pylist()) == {"classic:hog-color"}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_same_images_give_the_same_bytes(dataset, stage, tmp_path):
    again = store(tmp_path, pictures())
    execute([stage], again, INLINE)
    for first, second in zip(list_commits(dataset.root, stage.name), list_commits(tmp_path, stage.name), strict=True):
        assert first.outputs == second.outputs


@pytest.mark.parametrize("stage", [FilterStage(), DetectStage(), EmbedStage()], ids=lambda stage: stage.name)
def test_a_damaged_store_fails_the_partition_by_name(tmp_path, stage):
    dataset = store(tmp_path, pictures())
    tar = paths.image_tar(tmp_path, "00001")
    data = bytearray(tar.read_bytes())
    data[512:1024] = bytes(512)
    tar.write_bytes(data)
    summary = execute([stage], dataset, INLINE)[0]
    assert list(summary.failed) == ["00001"]
    assert "stored image 00001-00000 does not decode" in summary.failed["00001"]
    assert summary.ran == 1


def test_a_partition_without_stored_images_has_an_empty_column(tmp_path):
    dataset = store(tmp_path, [Given(None), Given(None)])
    for stage in STAGES:
        assert execute([stage], dataset, INLINE)[0].failed == {}
    assert dataset.column("captions").num_rows == 0
    assert dataset.column("entities").schema.equals(ENTITY_SCHEMA)


def test_a_dataset_without_images_is_refused(tmp_path):
    with pytest.raises(UserError, match="no images yet: run `x2i crawl` first"):
        execute([FilterStage()], Dataset.create(tmp_path), INLINE)


def test_an_unknown_model_is_refused_before_anything_runs():
    with pytest.raises(UserError, match="family 'hf' for image embedder is not in this version"):
        embedding_column("hf:facebook/dinov2-base")


def test_the_page_text_is_that_of_the_index():
    assert page_text("alt", '{"figcaption":"f","title":"t","id":7}') == PageText("alt", "t", "f")
    assert page_text("", "{}") == PageText()


def test_new_images_are_annotated_and_old_ones_left_alone(tmp_path):
    dataset = store(tmp_path, pictures()[:4])
    execute([FilterStage()], dataset, INLINE)
    before = Path(paths.column_file(tmp_path, "quality", "00000")).stat().st_mtime_ns
    store(tmp_path, pictures()[:4] + pictures()[4:])
    summary = execute([FilterStage()], dataset, INLINE)[0]
    assert (summary.done_before, summary.ran) == (1, 1)
    assert Path(paths.column_file(tmp_path, "quality", "00000")).stat().st_mtime_ns == before
    assert pa.types.is_uint64(dataset.column("quality").schema.field("phash").type)
