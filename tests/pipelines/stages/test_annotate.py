"""The annotating stages add one column partition per image partition, with every drop counted by its reason."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages import decode_ahead
from pipelines.stages.annotate import SORTED_BATCHES, AnnotateStage
from tests.support.photographs import photograph
from tests.support.stored_images import Given, store
from tests.support.tiny_models import save_depth_model, save_open_clip_model
from x2i.annotate.base import Annotation, Found, StoredImage
from x2i.annotate.captions import Captions, page_text
from x2i.annotate.depth import Depth
from x2i.annotate.embeddings import Embeddings
from x2i.annotate.entities import Entities
from x2i.annotate.flatness import Flatness
from x2i.annotate.image_text import ImageText
from x2i.annotate.quality import Quality
from x2i.errors import UserError
from x2i.image.maps import decode_map16
from x2i.image.rle import decode_mask
from x2i.models.abilities import PageText
from x2i.options import Option
from x2i.store import Dataset, paths
from x2i.store.columns import read_column
from x2i.store.commits import list_commits

INLINE = RunOptions(executor=Executor.INLINE)
QUALITY, CAPTIONS, ENTITIES, EMBEDDINGS = STAGES = tuple(
    AnnotateStage(annotation) for annotation in (Quality(), Captions(), Entities(), Embeddings())
)


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


@pytest.mark.parametrize("column", ["quality", "captions", "embeddings"])
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
    assert {(row["model"], row["revision"]) for row in rows} == {("alt-text", "2")}
    counts = [commit.counts for commit in list_commits(dataset.root, "captions")]
    assert [(c.ok, c.filtered, c.failed) for c in counts] == [(2, {"no_caption": 1}, {}), (1, {}, {})]


def test_captions_are_made_without_reading_a_pixel(tmp_path):
    dataset = store(tmp_path, pictures())
    for commit in dataset.image_commits():
        paths.image_tar(tmp_path, commit.partition).unlink()
    assert execute([CAPTIONS], dataset, INLINE)[0].counts.ok == 3


def test_entities_have_boxes_and_masks_of_the_stored_image(dataset):
    table = dataset.column("entities")
    assert table.schema.equals(Entities().spec().schema)
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
    commit = next(iter(list_commits(dataset.root, "entities")))
    assert (commit.counts.ok, commit.counts.filtered) == (2, {"no_entity": 1})


def test_embeddings_are_unit_vectors(dataset):
    table = dataset.column("embeddings")
    vectors = np.array(table["embedding"].to_pylist(), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert set(table["model"].to_pylist()) == {"classic:hog-color"}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_same_images_give_the_same_bytes(dataset, stage, tmp_path):
    again = store(tmp_path, pictures())
    execute([stage], again, INLINE)
    for first, second in zip(list_commits(dataset.root, stage.name), list_commits(tmp_path, stage.name), strict=True):
        assert first.outputs == second.outputs


@pytest.mark.parametrize("stage", [QUALITY, ENTITIES, EMBEDDINGS], ids=lambda stage: stage.name)
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
    assert dataset.column("entities").schema.equals(Entities().spec().schema)


def test_a_dataset_without_images_is_refused(tmp_path):
    with pytest.raises(UserError, match="no images yet: run `x2i crawl` first"):
        execute([QUALITY], Dataset.create(tmp_path), INLINE)


def test_an_unknown_model_is_refused_before_anything_runs():
    with pytest.raises(UserError, match="image embedder 'nothing:of/the/kind': no such backend"):
        Embeddings(model="nothing:of/the/kind").config()


def test_the_page_text_is_that_of_the_index():
    url = "https://a.example/p/1.jpg"
    row = {"url": url, "text": "alt", "text_source": "table", "extra": '{"figcaption":"f","title":"t","id":7}'}
    assert page_text(row) == PageText("alt", "t", "f", "table", "1.jpg")
    assert page_text({"url": "", "text": "", "text_source": "", "extra": "{}"}) == PageText(text_source="")


def test_new_images_are_annotated_and_old_ones_left_alone(tmp_path):
    dataset = store(tmp_path, pictures()[:4])
    execute([QUALITY], dataset, INLINE)
    before = Path(paths.column_file(tmp_path, "quality", "00000")).stat().st_mtime_ns
    store(tmp_path, pictures()[:4] + pictures()[4:])
    summary = execute([QUALITY], dataset, INLINE)[0]
    assert (summary.done_before, summary.ran) == (1, 1)
    assert Path(paths.column_file(tmp_path, "quality", "00000")).stat().st_mtime_ns == before
    assert pa.types.is_uint64(dataset.column("quality").schema.field("phash").type)


@dataclass(frozen=True)
class Brightness(Annotation):
    """Brightness of the pixels beside the number of words of a caption; fails on one image."""

    name: ClassVar[str] = "brightness"
    title: ClassVar[str] = "Brightness"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("mean", pa.float32()), pa.field("words", pa.int32()))

    mended: ClassVar[bool] = False

    fails_on: Annotated[str, Option("Keys of images it cannot do.")] = ""
    captions: Annotated[str, Option("The column of captions.")] = "captions"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.captions,)

    def load(self) -> Brightness:
        return self

    def annotate(self, images: Sequence[StoredImage]) -> list[Any]:
        if not self.mended and any(image.key in self.fails_on.split(",") for image in images):
            raise RuntimeError("cannot do this one")
        return [
            Found(
                ({"mean": float(image.pixels.mean()), "words": len((image.one("captions", "caption") or "").split())},)
            )
            for image in images
        ]


def test_one_image_that_a_backend_cannot_do_costs_itself_alone(tmp_path):
    dataset = store(tmp_path, pictures())
    execute([CAPTIONS], dataset, INLINE)
    summary = execute([AnnotateStage(Brightness(fails_on="00000-00002"))], dataset, INLINE)[0]
    assert summary.failed == {}
    assert (summary.counts.ok, summary.counts.failed) == (3, {"backend_error": 1})
    rows = {row["key"]: row for row in dataset.column("brightness").to_pylist()}
    assert list(rows) == OK_KEYS
    assert rows["00000-00002"]["mean"] is None
    assert rows["00000-00000"]["words"] == 8


def test_overwrite_runs_again_what_a_backend_could_not_do_and_nothing_else(tmp_path, monkeypatch):
    dataset, stage = store(tmp_path, pictures()), AnnotateStage(Brightness(fails_on="00000-00002"))
    execute([CAPTIONS], dataset, INLINE)
    execute([stage], dataset, INLINE)
    monkeypatch.setattr(Brightness, "mended", True)
    assert execute([stage], dataset, INLINE)[0].ran == 0
    summary = execute([stage], dataset, replace(INLINE, overwrite=True))[0]
    assert (summary.done_before, summary.ran, summary.counts.failed) == (1, 1, {})
    assert all(row["mean"] is not None for row in dataset.column("brightness").to_pylist())


def test_a_backend_that_fails_on_every_image_fails_the_partition(tmp_path):
    dataset = store(tmp_path, pictures())
    execute([CAPTIONS], dataset, INLINE)
    summary = execute([AnnotateStage(Brightness(fails_on=",".join(OK_KEYS)))], dataset, INLINE)[0]
    assert "failed on every image" in summary.failed["00000"]


def test_a_column_that_is_read_is_part_of_the_fingerprint_and_must_be_there(tmp_path):
    dataset = store(tmp_path, pictures())
    with pytest.raises(UserError, match="brightness reads captions/00000, which has not been made"):
        execute([AnnotateStage(Brightness())], dataset, INLINE)
    execute([CAPTIONS], dataset, INLINE)
    execute([AnnotateStage(Brightness())], dataset, INLINE)
    (commit, _) = list_commits(tmp_path, "brightness")
    (read, _) = list_commits(tmp_path, "captions")
    assert commit.inputs["captions/00000"] == read.outputs_digest


def test_annotations_of_one_pass_decode_each_image_once(tmp_path, monkeypatch):
    dataset, read = store(tmp_path, pictures()), []
    real = decode_ahead.read_stored_image
    monkeypatch.setattr(
        decode_ahead, "read_stored_image", lambda *where: (read.append(where[2]["key"]), real(*where))[1]
    )
    for summary in execute([QUALITY, EMBEDDINGS, AnnotateStage(Flatness()), CAPTIONS], dataset, INLINE):
        assert summary.counts.ok + sum(summary.counts.filtered.values()) == len(OK_KEYS)
    assert sorted(read) == OK_KEYS


def test_decoded_images_in_memory_are_few_however_many_there_are(tmp_path, monkeypatch):
    count, alive, most = 240, 0, 0
    lock = threading.Lock()
    real = decode_ahead.read_stored_image

    def gone() -> None:
        nonlocal alive
        with lock:
            alive -= 1

    def read(*where: Any) -> np.ndarray:
        nonlocal alive, most
        image = real(*where)
        weakref.finalize(image, gone)
        with lock:
            alive += 1
            most = max(most, alive)
        return image

    monkeypatch.setattr(decode_ahead, "read_stored_image", read)
    random = np.random.default_rng(0)
    images = [Given(random.integers(0, 255, (32, 32 + n % 3, 3), np.uint8)) for n in range(count)]
    dataset = store(tmp_path, images, partition_size=count)
    for summary in execute([QUALITY, EMBEDDINGS], dataset, INLINE):
        assert summary.counts.ok == count
    assert 0 < most <= decode_ahead.AHEAD + SORTED_BATCHES * Embeddings().batch_size + 2


def test_two_columns_of_one_annotation_stand_side_by_side(tmp_path):
    dataset = store(tmp_path, pictures())
    execute([CAPTIONS], dataset, INLINE)
    execute([AnnotateStage(Captions(), "captions_two")], dataset, INLINE)
    assert execute([CAPTIONS], dataset, INLINE)[0].ran == 0
    assert dataset.column("captions_two").equals(dataset.column("captions"))


def test_image_and_text_are_scored_by_a_network(tmp_path):
    model = save_open_clip_model(tmp_path / "clip")
    dataset = store(tmp_path / "d", pictures())
    execute([CAPTIONS], dataset, INLINE)
    alt = AnnotateStage(ImageText(model=f"open_clip:{model}", set={"batch": 2}))
    titles = AnnotateStage(ImageText(model=f"open_clip:{model}", text="captions"), "image_text_captions")
    for stage in (alt, titles):
        assert execute([stage], dataset, INLINE)[0].failed == {}
    rows = dataset.column("image_text").to_pylist()
    assert all(-1 <= row["score"] <= 1 for row in rows)
    assert {len(row["revision"]) for row in rows} == {64}
    captions = [row["score"] for row in dataset.column("image_text_captions").to_pylist()]
    assert [score is None for score in captions] == [False, False, True, False]


def test_depth_maps_are_images_in_a_column(tmp_path):
    model = save_depth_model(tmp_path / "depth")
    dataset = store(tmp_path / "d", pictures())
    assert execute([AnnotateStage(Depth(model=f"hf:{model}"))], dataset, INLINE)[0].failed == {}
    index = {row["key"]: row for row in dataset.images().to_pylist()}
    for row in dataset.column("depth").to_pylist():
        levels_HW = decode_map16(row["depth"]["bytes"])
        assert levels_HW.shape == (index[row["key"]]["height"], index[row["key"]]["width"])
        assert (levels_HW.min(), levels_HW.max()) == (0, 65535)
        assert row["low"] < row["high"]


@dataclass(frozen=True)
class TwoBatches(Embeddings):
    """Embeddings by a backend of small batches that writes down which images came together."""

    @property
    def batch_size(self) -> int:
        return 2

    def load(self):
        annotator, log = super().load(), self.set["log"]

        class Logged:
            embedder = annotator.embedder

            def annotate(self, images):
                with Path(log).open("a") as stream:
                    stream.write(" ".join(f"{i.key}:{i.pixels.shape[1]}x{i.pixels.shape[0]}" for i in images) + "\n")
                return annotator.annotate(images)

        return Logged()

    def backends(self):
        return Embeddings().backends()


def test_images_of_one_shape_come_into_one_batch_and_rows_stay_in_key_order(tmp_path, capsys):
    shapes = [(60, 90), (90, 60), (60, 91), (91, 60), (62, 92), (90, 62), (61, 90)]
    random = np.random.default_rng(0)
    images = [Given(random.integers(0, 255, (*shape, 3), np.uint8)) for shape in shapes]
    dataset = store(tmp_path / "d", images, partition_size=8)
    log = tmp_path / "log"
    (summary,) = execute([AnnotateStage(TwoBatches(set={"log": str(log)}))], dataset, INLINE)
    batches = [
        [tuple(map(int, e.split(":")[1].split("x"))) for e in line.split()] for line in log.read_text().split("\n")
    ]
    assert [len(batch) for batch in batches[:-1]] == [2, 2, 2, 1]
    assert [len({width > height for width, height in batch}) for batch in batches[:-1]].count(2) <= 1
    table = dataset.column("embeddings")
    assert table["key"].to_pylist() == [f"00000-{number:05d}" for number in range(7)]
    plain = store(tmp_path / "plain", images, partition_size=8)
    execute([AnnotateStage(Embeddings())], plain, INLINE)
    assert np.allclose(table["embedding"].to_pylist(), plain.column("embeddings")["embedding"].to_pylist(), atol=1e-6)
    assert 0 < summary.busy_seconds < summary.worker_seconds <= summary.seconds


def test_the_end_of_a_run_says_how_busy_the_model_was(tmp_path, capsys):
    from tests.support.command_line import typed

    dataset = store(tmp_path / "d", pictures()[:1])
    assert typed("embed", dataset.root, "--executor", "inline") == 0
    assert re.search(r"embeddings: 1 partition run\. 1 ok\. Model busy \d+%", capsys.readouterr().err)
    assert typed("filter", dataset.root, "--executor", "inline") == 0
    assert "busy" not in capsys.readouterr().err
