"""Hugging Face image datasets in each form that lies on disks, with the captions that people wrote."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from x2i.errors import UserError
from x2i.importers.base import ImportRecord, Rejected, Remark, SourceImage
from x2i.importers.example import number_of, picture
from x2i.importers.hf_images import HuggingFaceImages
from x2i.importers.locations import LocationReader

WORDS = ["<sks>  a dog", "cat\n1girl", " P-51 \u201cMustang\u201d ", ""]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def read(path: Path, **options: Any) -> tuple[list[SourceImage], list[Rejected], list[str]]:
    found = list(HuggingFaceImages(**options).records(path))
    images = [image for record in found if isinstance(record, ImportRecord) for image in record.images]
    rejected = [record for record in found if isinstance(record, Rejected)]
    return images, rejected, [record.text for record in found if isinstance(record, Remark)]


def assert_words_stand_by_their_pictures(images: list[SourceImage], root: Path, words: list[str]) -> None:
    reader = LocationReader(root)
    assert [number_of(reader.read(image.location)) for image in images] == list(range(len(words)))
    assert [image.text for image in images] == words


def cells(count: int = 4) -> pa.Array:
    return pa.array([{"bytes": picture(n), "path": f"{n}.jpg"} for n in range(count)], STRUCT)


def test_parquet_with_image_structs(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": cells(), "text": WORDS, "n": [0, 1, 2, 3]}), tmp_path / "a.parquet", 2)
    images, rejected, remarks = read(tmp_path / "a.parquet", keep=("n",))
    assert_words_stand_by_their_pictures(images, tmp_path, WORDS)
    assert [dict(image.extra) for image in images] == [{"path": f"{n}.jpg", "n": n} for n in range(4)]
    assert (rejected, remarks) == ([], ["images from 'image', captions from 'text'"])


def test_parquet_with_raw_bytes_in_several_files_and_lists_of_captions(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lists = [[word, "another"] for word in WORDS[:3]] + [[]]
    table = pa.table({"jpg": [picture(n) for n in range(4)], "captions": pa.array(lists, pa.list_(pa.string()))})
    pq.write_table(table.slice(0, 1), tmp_path / "data/train-00000-of-00002.parquet")
    pq.write_table(table.slice(1), tmp_path / "data/train-00001-of-00002.parquet")
    pq.write_table(table.slice(0, 1), tmp_path / "data/test-00000-of-00001.parquet")
    assert_words_stand_by_their_pictures(read(tmp_path, split="train")[0], tmp_path, WORDS)
    assert len(read(tmp_path)[0]) == 5
    with pytest.raises(UserError, match="no table has 'validation' in its path"):
        read(tmp_path, split="validation")


def test_what_datasets_saves_to_disk(tmp_path: Path) -> None:
    for n in range(4):
        (tmp_path / f"{n}.jpg").write_bytes(picture(n))
    rows = {"image": [str(tmp_path / f"{n}.jpg") for n in range(4)], "label": [1, 0, 1, 0]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a dog", "a cat"])})
    whole = datasets.Dataset.from_dict(rows, features=features).map(lambda row: row, load_from_cache_file=False)
    datasets.DatasetDict({"train": whole}).save_to_disk(tmp_path / "saved", num_shards={"train": 2})
    images, _, remarks = read(tmp_path / "saved")
    assert_words_stand_by_their_pictures(images, tmp_path / "saved", ["a cat", "a dog", "a cat", "a dog"])
    assert remarks == ["images from 'image', captions from 'label'"]


def test_a_struct_without_bytes_names_a_file_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(picture(0))
    table = pa.table({"image": pa.array([{"bytes": None, "path": "0.jpg"}], STRUCT), "text": ["zero"]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert_words_stand_by_their_pictures(read(tmp_path / "a.parquet")[0], tmp_path, ["zero"])


def image_folder(folder: Path, count: int = 4) -> Path:
    folder.mkdir(parents=True)
    for n in range(count):
        (folder / f"{n}.jpg").write_bytes(picture(n))
    return folder


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_an_image_folder_with_metadata(tmp_path: Path, kind: str) -> None:
    folder = image_folder(tmp_path / "set/train")
    rows = [{"file_name": f"{n}.jpg", "prompt": word} for n, word in enumerate(WORDS)]
    path = folder / f"metadata.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "csv":
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["file_name", "prompt"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    for source in (tmp_path / "set", folder):
        images, rejected, remarks = read(source)
        assert_words_stand_by_their_pictures(images, source, WORDS)
        assert (rejected, remarks) == ([], ["images from 'file_name', captions from 'prompt'"])


def test_columns_may_be_named_and_written_in_another_case(tmp_path: Path) -> None:
    table = pa.table({"Picture": cells(), "Said": WORDS, "Note": ["a"] * 4})
    pq.write_table(table, tmp_path / "a.parquet")
    images, _, _ = read(tmp_path / "a.parquet", image="picture", caption="SAID", keep=("note",))
    assert_words_stand_by_their_pictures(images, tmp_path, WORDS)
    assert [image.extra["Note"] for image in images] == ["a"] * 4
    folder = image_folder(tmp_path / "set", 2)
    (folder / "metadata.jsonl").write_text(json.dumps({"A_File_Name": "0.jpg", "B_FILE_NAME": "1.jpg", "Text": "x"}))
    images, _, _ = read(folder)
    assert_words_stand_by_their_pictures(images, folder, ["x", "x"])
    assert [image.extra["role"] for image in images] == ["A", "B"]


def test_several_files_a_row_share_its_words(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "set", 2)
    line = {"source_file_name": "0.jpg", "edited_file_name": "1.jpg", "text": "in red"}
    (folder / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    images, _, _ = read(folder)
    assert_words_stand_by_their_pictures(images, folder, ["in red", "in red"])
    assert [image.extra["role"] for image in images] == ["source", "edited"]
    assert images[0].extra["group"] == images[1].extra["group"]


def test_images_that_no_metadata_names_come_last_without_words(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "set")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "3.jpg", "text": "three"}) + "\n")
    images, _, _ = read(folder)
    assert [(image.location.path, image.text) for image in images] == [
        ("3.jpg", "three"),
        *((f"{n}.jpg", "") for n in range(3)),
    ]


def test_folders_of_classes_give_labels_and_no_captions(tmp_path: Path) -> None:
    image_folder(tmp_path / "set/cats", 1)
    image_folder(tmp_path / "set/dogs", 1)
    images, _, _ = read(tmp_path / "set")
    assert [(image.text, dict(image.extra)) for image in images] == [("", {"label": "cats"}), ("", {"label": "dogs"})]


def test_it_says_which_columns_it_took_and_which_not(tmp_path: Path) -> None:
    table = pa.table({"edited": cells(), "image": cells(), "title": WORDS, "Text": WORDS, "note": WORDS})
    pq.write_table(table, tmp_path / "a.parquet")
    told, several = read(tmp_path)[2]
    assert told == (
        "images from 'image', captions from 'Text'; not taken: 'edited', 'title' "
        "(--caption, --image and --keep choose columns)"
    )
    assert several.startswith("'edited' holds images too: `x2i import hf-edits")
    images, _, remarks = read(tmp_path, image="edited", caption="note")
    assert_words_stand_by_their_pictures(images, tmp_path, WORDS)
    assert remarks[0].startswith("images from 'edited', captions from 'note'; not taken: 'image', 'Text', 'title'")
    pq.write_table(pa.table({"image": cells()}), tmp_path / "a.parquet")
    assert "no column of captions (--caption names one)" in read(tmp_path)[2][0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"caption": "txet"}, "--caption txet: no such column: did you mean 'text'"),
        ({"image": "pic"}, "--image pic: no such column"),
        ({"keep": ("x",)}, "--keep x: no such column"),
        ({"caption": "n"}, "--caption n: expected text, found int64"),
        ({"image": "n"}, "--image n: expected images or paths, found int64"),
    ],
)
def test_columns_that_are_not_there_or_hold_something_else_are_named(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    pq.write_table(pa.table({"image": cells(), "text": WORDS, "n": [0, 1, 2, 3]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=words):
        read(tmp_path, **options)


def test_paths_and_addresses_in_a_column_are_located(tmp_path: Path) -> None:
    image_folder(tmp_path / "set", 1)
    paths = ["0.jpg", "https://example.org/1.jpg", "../secret.jpg", None]
    pq.write_table(pa.table({"image": paths, "text": WORDS}), tmp_path / "set/a.parquet")
    images, rejected, _ = read(tmp_path / "set")
    assert [image.location.path for image in images] == ["0.jpg", "https://example.org/1.jpg"]
    assert [(entry.line, entry.reason) for entry in rejected] == [(3, "file_error"), (4, "bad_record")]


def test_broken_lines_of_metadata_are_rejected_by_number(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "set", 1)
    lines = ["{broken", "[]", json.dumps({"text": "no file"}), json.dumps({"file_name": "../x.jpg"})]
    lines.append(json.dumps({"file_name": "0.jpg", "text": "zero"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    images, rejected, _ = read(folder)
    assert [image.text for image in images] == ["zero"]
    assert [(entry.file, entry.line) for entry in rejected] == [("metadata.jsonl", n) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("name", ["empty", "nowhere", "words.txt", "no_images.parquet", "cut.parquet"])
def test_what_is_no_image_dataset_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.txt").write_text("x")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(pa.table({"text": WORDS}), tmp_path / "no_images.parquet")
    with pytest.raises(UserError, match=name):
        read(tmp_path / name)
