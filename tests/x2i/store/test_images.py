"""The image store: one row per attempt, bytes found again by offset, the same input giving the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.datasets import build_dataset, photo_bytes
from x2i.image_record import ImageRecord
from x2i.reasons import Reason, Status
from x2i.store import paths
from x2i.store.files.tar import list_members, read_range
from x2i.store.images import IMAGE_SCHEMA, image_partition, read_image_index, record_from_row

PHASH = 2**64 - 5


def write(root: Path) -> list[ImageRecord]:
    data = photo_bytes("rocket.jpg")
    kept = ImageRecord(
        "00000-00000",
        "uid0",
        "https://a.example/ü.jpg",
        Status.OK,
        text='alt "text"\n',
        width=640,
        height=427,
        format="jpeg",
        bytes=len(data),
        sha256="ab",
        phash=PHASH,
        extra='{"caption_2":"x"}',
    )
    lost = ImageRecord("00000-00001", "uid1", "https://a.example/y", Status.FILTERED, Reason.TOO_SMALL, "8 x 8")
    with image_partition(root, "00000") as writer:
        writer.add(kept, data)
        writer.add(lost)
    return writer.records


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    records = write(tmp_path)
    table = read_image_index(tmp_path, "00000")
    assert table.schema.equals(IMAGE_SCHEMA)
    assert [record_from_row(row) for row in table.to_pylist()] == records
    assert records[0].phash == PHASH


def test_the_offset_of_a_record_leads_to_its_bytes(tmp_path: Path) -> None:
    kept = write(tmp_path)[0]
    data = read_range(paths.image_tar(tmp_path, "00000"), kept.data_offset, kept.data_size)
    assert data == photo_bytes("rocket.jpg")
    assert [member.name for member in list_members(paths.image_tar(tmp_path, "00000"))] == ["00000-00000.jpg"]


def test_the_same_partition_written_twice_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name)
    for suffix in ("tar", "parquet"):
        left, right = (tmp_path / name / f"images/00000.{suffix}" for name in ("a", "b"))
        assert left.read_bytes() == right.read_bytes()


def test_a_partition_of_failures_alone_is_readable(tmp_path: Path) -> None:
    with image_partition(tmp_path, "00000") as writer:
        writer.add(ImageRecord("00000-00000", "u", "https://a.example/x", Status.FAILED, Reason.TIMEOUT))
    assert list_members(paths.image_tar(tmp_path, "00000")) == []
    assert read_image_index(tmp_path, "00000")["reason"].to_pylist() == ["timeout"]


def test_an_error_in_the_middle_leaves_neither_tar_nor_index(tmp_path: Path) -> None:
    with pytest.raises(AssertionError), image_partition(tmp_path, "00000") as writer:
        writer.add(ImageRecord("00000-00000", "u", "https://a.example/x", Status.FAILED, Reason.TIMEOUT), b"bytes")
    assert list((tmp_path / "images").iterdir()) == []


def test_chosen_columns_of_the_index_are_read_alone(tmp_path: Path) -> None:
    dataset = build_dataset(tmp_path / "d", side=32)
    assert dataset.images(["key", "status"]).column_names == ["key", "status"]
