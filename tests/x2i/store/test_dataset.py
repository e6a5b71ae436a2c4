"""The facade: what is committed is seen, what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.datasets import build_dataset
from x2i.errors import UserError
from x2i.image import decode, sha256
from x2i.store import Dataset, paths


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=48)


def test_creating_twice_keeps_the_first(tmp_path: Path) -> None:
    Dataset.create(tmp_path / "d", "first", {"a": 1})
    again = Dataset.create(tmp_path / "d", "second")
    assert (again.name, dict(again.config)) == ("first", {"a": 1})


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(UserError, match="taken: is a file"):
        Dataset.create(tmp_path / "taken")
    with pytest.raises(UserError, match="no folder can be made"):
        Dataset.create(tmp_path / "taken" / "below")


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a dataset"):
        Dataset.open(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}'])
def test_a_damaged_dataset_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / paths.DATASET_FILE).write_text(text)
    with pytest.raises(UserError, match="expected a JSON object"):
        Dataset.open(tmp_path)


def test_a_dataset_of_another_format_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / paths.DATASET_FILE).write_text(json.dumps({"format_version": 99, "name": "x"}))
    with pytest.raises(UserError, match="format version 99"):
        Dataset.open(tmp_path)


def test_every_attempt_is_in_the_index_in_key_order(dataset: Dataset) -> None:
    keys = dataset.images()["key"].to_pylist()
    assert len(keys) == 15
    assert keys == sorted(keys)


def test_an_uncommitted_partition_is_not_seen(tmp_path: Path) -> None:
    dataset = build_dataset(tmp_path / "d", side=32)
    paths.commit_file(dataset.root, "crawl", "00001").unlink()
    assert len(dataset.images()) == 8


def test_an_image_is_found_by_its_key(dataset: Dataset) -> None:
    record, data = dataset.image("00000-00001")
    assert record.url.endswith("chelsea.png")
    assert sha256(data) == record.sha256
    assert decode(data).shape == (record.height, record.width, 3)


@pytest.mark.parametrize("key", ["00000-00004", "00000-99999", "00009-00000", "nonsense"])
def test_an_image_that_is_not_stored_is_named(dataset: Dataset, key: str) -> None:
    with pytest.raises(UserError, match=f"no stored image '{key}'"):
        dataset.image(key)


def test_columns_come_whole_and_missing_ones_are_named_with_those_there_are(dataset: Dataset) -> None:
    assert dataset.column("quality")["key"].to_pylist() == sorted(dataset.column("quality")["key"].to_pylist())
    assert len(dataset.column("captions")) == 7
    with pytest.raises(UserError, match="no column 'clip'; there are: captions"):
        dataset.column("clip")
    assert len(dataset.relation("duplicates")) == 7


def test_shards_and_samples_are_found_by_task(dataset: Dataset) -> None:
    assert [shard.name for shard in dataset.shards("deblur")] == ["deblur-1in-00000"]
    assert len(dataset.shards()) == 7
    samples = list(dataset.samples("few_shot"))
    assert [(sample.task, len(images)) for sample, images in samples] == [("few_shot", 4)]


def test_a_dataset_and_a_sample_are_printed_in_a_few_words(dataset: Dataset) -> None:
    shown = str(dataset)
    for name in (*dataset.columns(), *dataset.relations(), *dataset.sample_index()["task"].to_pylist()):
        assert name in shown
    assert f"{dataset.images()['status'].to_pylist().count('ok')} ok" in shown
    assert len(repr(dataset)) < 200
    sample, _ = next(dataset.samples())
    width, height = sample.sizes[-1]
    assert str(sample).startswith(sample.key)
    assert f"{width}x{height}" in str(sample)
    assert "<img>" not in str(sample)


def test_an_empty_dataset_has_nothing_and_says_so_without_an_error(tmp_path: Path) -> None:
    empty = Dataset.create(tmp_path / "d")
    assert len(empty.images()) == 0
    assert empty.images(["key"]).column_names == ["key"]
    assert empty.shards() == []
    assert list(empty.samples()) == []
