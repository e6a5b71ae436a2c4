"""`import x2i`: a dataset is built, queried, looked at and read in Python."""

from __future__ import annotations

import gc
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pyarrow as pa
import pytest
from torch.utils.data import DataLoader

import x2i
from tests.support.command_line import file_sums, typed
from tests.support.photographs import photograph
from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict
from x2i.errors import RunError, UserError
from x2i.image import decode, encode, read_header

NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in NAMES:
        (folder / name).with_suffix(".jpg").write_bytes(encode(photograph(name), "jpeg", 95))
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def dataset(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> x2i.Dataset:
    dataset = x2i.Dataset.create(tmp_path_factory.mktemp("api") / "data")
    dataset.run("crawl", sources=[photos], partition_size=2)
    dataset.run("filter")
    dataset.run("dedup")
    dataset.run("materialize", recipes={"deblur": {}, "image_to_canny": {}})
    return dataset


def test_steps_write_the_same_bytes_as_the_commands(photos: Path, dataset: x2i.Dataset, tmp_path: Path) -> None:
    inline = ("--executor", "inline")
    assert typed("crawl", photos, "--out", tmp_path / "data", "--partition-size", 2, *inline) == 0
    assert typed("filter", tmp_path / "data", *inline) == 0
    made, expected = file_sums(dataset.root), file_sums(tmp_path / "data")
    tables = [name for name in expected if name.startswith(("images/", "columns/"))]
    assert tables
    assert {name: made[name] for name in tables} == {name: expected[name] for name in tables}


def test_a_step_is_run_once_and_counted(dataset: x2i.Dataset) -> None:
    (first,) = dataset.run("caption", model="alt-text", column="captions_alt")
    (again,) = dataset.run("caption", model="alt-text", column="captions_alt", executor="processes", workers=2)
    assert (first.stage, first.ran, again.ran, again.done_before) == ("captions_alt", 3, 0, 3)
    assert "captions_alt" in dataset.columns()
    assert dataset.column("captions_alt").num_rows == len(NAMES)


def test_mistakes_are_user_errors(dataset: x2i.Dataset) -> None:
    with pytest.raises(UserError, match="did you mean 'caption'"):
        dataset.run("captoin")
    with pytest.raises(UserError, match="columm: unknown key"):
        dataset.run("filter", quality={"columm": 1})
    with pytest.raises(UserError, match="executor"):
        dataset.run("filter", executor="cluster")
    with pytest.raises(UserError, match="expected numbers, texts"):
        dataset.run("dedup", max_distance=object())


def test_a_partition_that_fails_raises_its_error(dataset: x2i.Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.root, tmp_path / "copy")
    (tmp_path / "copy/images/00000.tar").unlink()
    with pytest.raises(RunError, match="embeddings, partition 0000"):
        x2i.Dataset.open(tmp_path / "copy").run("embed")


def test_tables_are_arrow_and_named(dataset: x2i.Dataset) -> None:
    assert isinstance(dataset.images(), pa.Table)
    assert "quality" in dataset.columns()
    assert dataset.relations() == ["duplicates"]
    assert dataset.relation("duplicates").num_rows == len(NAMES)
    index = dataset.sample_index()
    assert sorted(set(index["task"].to_pylist())) == ["deblur", "image_to_canny"]
    assert dataset.sample_index("deblur").num_rows == len(list(dataset.samples("deblur"))) == len(NAMES)
    assert dataset.sample_index("colorize").num_rows == 0


def test_a_query_is_a_duckdb_relation_that_outlives_its_connection(dataset: x2i.Dataset) -> None:
    relation = dataset.query("SELECT key, quality.sharpness FROM images JOIN quality USING (key) ORDER BY key")
    gc.collect()
    rows = relation.filter("sharpness > 0").fetchall()
    sharpness = {row["key"]: row["sharpness"] for row in dataset.column("quality").to_pylist()}
    assert dict(rows) == sharpness
    assert relation.to_arrow_table().column_names == ["key", "sharpness"]


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("SELECT sharpnes FROM quality", "sharpness"),
        ("SELECT * FROM nothing", "quality: key"),
        ("SELECT * FROM '{root}/images/00000.parquet'", "Permission|disabled"),
        ("CREATE TABLE t (a INTEGER)", "expected one SELECT"),
        ("SELECT 1; SELECT 2", "expected one SELECT"),
    ],
)
def test_a_query_that_duckdb_refuses_is_explained(dataset: x2i.Dataset, sql: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        dataset.query(sql.format(root=dataset.root))


def test_pictures_show_themselves(dataset: x2i.Dataset, tmp_path: Path) -> None:
    pictures = list(dataset.pictures())
    assert len(pictures) == len(NAMES)
    first = pictures[0]
    assert first.record is not None
    assert repr(first) == f"<Picture {first.record.key}, {first.record.width}x{first.record.height} jpeg>"
    shown = cv2.imdecode(np.frombuffer(first._repr_png_(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert (shown == first.pixels).all()
    first.save(tmp_path / "first.jpg")
    assert (decode((tmp_path / "first.jpg").read_bytes()) == first.pixels).all()
    large = x2i.Picture(encode(np.zeros((600, 1200, 3), np.uint8), "png"))
    header = read_header(large._repr_png_())
    assert (header.format, header.width, header.height) == ("png", 512, 256)


def test_pictures_can_be_chosen_by_a_predicate(dataset: x2i.Dataset) -> None:
    sharpness = {row["key"]: row["sharpness"] for row in dataset.column("quality").to_pylist()}
    sharpest = max(sharpness.values())
    chosen = [picture.record.key for picture in dataset.pictures(f"quality.sharpness >= {sharpest}")]
    assert chosen == [key for key, value in sharpness.items() if value == sharpest]


def test_a_dataset_shows_itself(dataset: x2i.Dataset) -> None:
    html = dataset._repr_html_()
    assert "4 ok, 1 failed" in html
    assert "4 deblur, 4 image_to_canny" in html
    assert html.count("<img ") == len(NAMES)
    empty = x2i.Dataset.create(dataset.root.parent / "a<b")
    assert "a&lt;b" in empty._repr_html_()


def test_samples_are_a_hugging_face_dataset(
    dataset: x2i.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    rows = dataset.to_hf("deblur")
    assert rows.column_names == ["key", "task", "instruction", "input_images", "output_image"]
    for row, (sample, images) in zip(rows, dataset.samples("deblur"), strict=True):
        assert (row["key"], row["instruction"]) == (sample.key, sample.instruction)
        pixels = [np.asarray(image) for image in (*row["input_images"], row["output_image"])]
        assert [image.shape[1::-1] for image in pixels] == list(sample.sizes)
        assert np.abs(pixels[-1].astype(int) - decode(images[-1])).max() <= 8  # another JPEG decoder's rounding
    assert len(dataset.to_hf()) == 2 * len(NAMES)


def test_images_are_a_hugging_face_dataset_with_the_columns_that_are_asked_for(
    dataset: x2i.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    rows = dataset.to_hf(images=True, columns=["quality"])
    sharpness = {row["key"]: row["sharpness"] for row in dataset.column("quality").to_pylist()}
    assert [row["key"] for row in rows] == [picture.record.key for picture in dataset.pictures()]
    for row, picture in zip(rows, dataset.pictures(), strict=True):
        assert row["quality_sharpness"] == pytest.approx(sharpness[row["key"]])
        assert row["image"].size == (row["width"], row["height"]) == picture.pixels.shape[1::-1]
        assert np.abs(np.asarray(row["image"]).astype(int) - picture.pixels).max() <= 8
    sharpest = max(sharpness.values())
    chosen = dataset.to_hf(images=True, where=f"quality.sharpness >= {sharpest}")
    assert [row["key"] for row in chosen] == [key for key, value in sharpness.items() if value == sharpest]
    assert "quality_sharpness" not in chosen.column_names
    with pytest.raises(UserError, match="no column 'captions'; there are: .*quality"):
        dataset.to_hf(images=True, columns=["captions"])


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_a_torch_dataset(dataset: x2i.Dataset, workers: int) -> None:
    loader = DataLoader(dataset.to_torch(images=True, columns=["quality"]), batch_size=None, num_workers=workers)
    loaded = {row["key"]: row for row in loader}
    pictures = {picture.record.key: picture for picture in dataset.pictures()}
    assert loaded.keys() == pictures.keys()
    for key, row in loaded.items():
        assert (row["image"].permute(1, 2, 0).numpy() == pictures[key].pixels).all()
        assert row["quality_sharpness"] > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_are_a_torch_dataset(dataset: x2i.Dataset, workers: int) -> None:
    loaded = list(DataLoader(dataset.to_torch(), batch_size=None, num_workers=workers))
    expected = {sample.key: images for sample, images in dataset.samples()}
    assert sorted(sample["key"] for sample in loaded) == sorted(expected)
    for sample in loaded:
        tensors = [*sample["input_images"], sample["output_image"]]
        for tensor, data in zip(tensors, expected[sample["key"]], strict=True):
            assert (tensor.permute(1, 2, 0).numpy() == decode(data)).all()


def test_a_dataset_without_samples_says_how_to_make_them(dataset: x2i.Dataset) -> None:
    with pytest.raises(UserError, match=r"no training samples of colorize.*there are: deblur, image_to_canny"):
        dataset.to_torch("colorize")
    with pytest.raises(UserError, match="run `x2i materialize` first"):
        x2i.Dataset.create(dataset.root.parent / "empty").to_hf()
    with pytest.raises(UserError, match="there are: deblur, image_to_canny"):
        next(dataset.samples("colorize"))


def test_options_of_images_are_refused_for_samples(dataset: x2i.Dataset) -> None:
    for given in ({"columns": ["quality"]}, {"where": "images.width > 1"}):
        with pytest.raises(UserError, match="images=True"):
            dataset.to_hf(**given)
        with pytest.raises(UserError, match="images=True"):
            dataset.to_torch(**given)


@dataclass(frozen=True)
class Brightness(PixelAnnotation):
    """How bright an image is."""

    name: ClassVar[str] = "brightness"
    title: ClassVar[str] = "Mean, 0 to 255"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("score", pa.float32()),)

    def facts(self, image: StoredImage) -> Verdict:
        return {"score": float(image.pixels.mean())}


def test_a_class_is_run_as_its_import_path_is(dataset: x2i.Dataset) -> None:
    (first,) = dataset.run(Brightness)
    (again,) = dataset.run(f"{__name__}:Brightness")
    assert (first.ran, again.ran) == (3, 0)
    assert dataset.column("brightness").num_rows == len(NAMES)
