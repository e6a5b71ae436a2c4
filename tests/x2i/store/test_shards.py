"""Training shards: the same bytes every time, found by offset, read by other libraries unchanged."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.datasets import build_dataset, photo_bytes
from x2i.errors import UserError
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.store.shards import SHARD_SCHEMA, EncodedImage, Shard, find_shards, shard_name, training_shard

JPEG = EncodedImage(photo_bytes("rocket.jpg"), "jpeg")
PNG = EncodedImage(photo_bytes("text.png"), "png")


def sample(key: str, inputs: int = 2, task: str = "subject_pair") -> Sample:
    marks = " ".join(placeholder(k) for k in range(1, inputs + 1))
    source = Lineage(("u",), ("https://a.example/ü",), ("",))
    sizes = ((640, 427),) * inputs + ((172, 448),)
    return Sample(key, task, f"Ünïcode {marks} <b>&", sizes, source, RecipeStamp(task, 1, {"a": [1]}), {"s": 0.5})


def write(root: Path) -> Shard:
    with training_shard(root, shard_name("subject_pair", 2, 0)) as writer:
        for key in ("b", "a"):
            writer.add(sample(key), [JPEG, JPEG], PNG)
    return find_shards(root)[0]


def test_a_shard_written_twice_is_the_same_bytes(tmp_path: Path) -> None:
    left, right = write(tmp_path / "x"), write(tmp_path / "y")
    assert left.tar.read_bytes() == right.tar.read_bytes()
    assert left.index_path.read_bytes() == right.index_path.read_bytes()


def test_samples_and_images_come_back_by_the_index(tmp_path: Path) -> None:
    shard = write(tmp_path)
    index = shard.index()
    assert index.schema.equals(SHARD_SCHEMA)
    assert index["key"].to_pylist() == ["b", "a"]
    for row in index.to_pylist():
        assert shard.sample(row) == sample(row["key"])
        assert shard.image_data(row) == [JPEG.data, JPEG.data, PNG.data]
        assert row["image_names"] == ["input_1.jpg", "input_2.jpg", "output.png"]
        assert row["instruction_bytes"] == len(sample("a").instruction.encode())


def test_an_index_that_does_not_say_what_is_mirrorable_says_of_nothing(tmp_path: Path) -> None:
    shard = write(tmp_path)
    assert shard.index()["mirrorable"].to_pylist() == [False, False]
    pq.write_table(shard.index().drop_columns(["mirrorable"]), shard.index_path)
    assert shard.index()["mirrorable"].to_pylist() == [False, False]
    assert shard.index(["key"]).column_names == ["key"]


def test_a_sample_of_another_kind_does_not_fit(tmp_path: Path) -> None:
    with training_shard(tmp_path, "subject_pair-2in-00000") as writer:
        writer.add(sample("a"), [JPEG, JPEG], PNG)
        with pytest.raises(ValueError, match="one task and one number of inputs"):
            writer.add(sample("b", inputs=1), [JPEG], PNG)
        with pytest.raises(ValueError, match="one task and one number of inputs"):
            writer.add(sample("b", task="few_shot"), [JPEG, JPEG], PNG)
        with pytest.raises(ValueError, match="1 input images given, 2 declared"):
            writer.add(sample("b"), [JPEG], PNG)


def test_a_truncated_shard_is_noticed_when_its_last_sample_is_read(tmp_path: Path) -> None:
    shard = write(tmp_path)
    row = shard.index().to_pylist()[-1]
    shard.tar.write_bytes(shard.tar.read_bytes()[: row["image_offsets"][-1] + 3])
    with pytest.raises(UserError, match="truncated"):
        shard.image_data(row)


def test_webdataset_reads_every_shard_unchanged(tmp_path: Path) -> None:
    import webdataset

    dataset = build_dataset(tmp_path / "d", side=32)
    for shard in dataset.shards():
        rows = {row["key"]: row for row in shard.index().to_pylist()}
        read = list(webdataset.WebDataset(str(shard.tar), shardshuffle=False).decode("pil"))
        assert [entry["__key__"] for entry in read] == list(rows)
        for entry in read:
            row = rows[entry["__key__"]]
            assert entry["json"]["instruction"] == row["instruction"]
            assert [list(entry[name].size) for name in row["image_names"]] == row["image_sizes"]


def test_hugging_face_datasets_reads_every_shard_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    dataset = build_dataset(tmp_path / "d", side=32)
    for shard in dataset.shards():
        rows = shard.index().to_pylist()
        read = load_dataset(
            "webdataset", data_files={"train": str(shard.tar)}, split="train", cache_dir=str(tmp_path / "cache")
        )
        assert read["__key__"] == [row["key"] for row in rows]
        for entry, row in zip(read, rows):
            assert entry["json"]["instruction"] == row["instruction"]
            assert entry["json"]["scores"] == row["scores"]
            assert [list(entry[name].size) for name in row["image_names"]] == row["image_sizes"]


def test_hugging_face_datasets_reads_shards_of_one_kind_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    root = build_dataset(tmp_path / "d", side=32).root
    files = [str(root / f"shards/{task}-1in-00000.tar") for task in ("deblur", "colorize")]
    read = load_dataset("webdataset", data_files={"train": files}, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(read) == 8
    assert {entry["json"]["task"] for entry in read} == {"deblur", "colorize"}
