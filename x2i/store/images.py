"""The image store: one tar of image bytes and one Parquet row per attempted image, partition by partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.errors import RunError
from x2i.image_record import ImageRecord
from x2i.reasons import DroppedError, Reason, Status
from x2i.store import paths
from x2i.store.files.atomic import read_table, write_table
from x2i.store.files.tar import TarShardWriter, read_range, tar_shard

MAX_PIXELS = 2**31  # what the store holds has passed the crawl's own limit
_INT_FIELDS = {"width", "height", "original_width", "original_height", "http_status"}
_LONG_FIELDS = {"bytes", "data_offset", "data_size"}


def _field_type(name: str) -> pa.DataType:
    if name in _INT_FIELDS:
        return pa.int32()
    if name in _LONG_FIELDS:
        return pa.int64()
    return pa.uint64() if name == "phash" else pa.string()


IMAGE_SCHEMA = pa.schema([pa.field(f.name, _field_type(f.name)) for f in fields(ImageRecord)])


class ImagePartitionWriter:
    """Collects the records of one partition in order; stored images go to the tar as they come."""

    def __init__(self, tar: TarShardWriter) -> None:
        self._tar = tar
        self.records: list[ImageRecord] = []

    @property
    def tar_sha256(self) -> str:
        """The sha256 of the tar, in hex, once it is written."""
        return self._tar.sha256

    def add(self, record: ImageRecord, data: bytes | None = None) -> None:
        """Appends `record`; `data` are the encoded image bytes, given exactly when the record's status is ok."""
        assert (data is not None) == (record.status is Status.OK), record
        if data is not None:
            suffix = extension(record.format)
            member = self._tar.add(record.key, {suffix: data})[suffix]
            record = replace(record, data_offset=member.offset, data_size=member.size)
        self.records.append(record)


@contextmanager
def image_partition(root: Path, partition: str) -> Iterator[ImagePartitionWriter]:
    """Opens partition `partition` of the image store at `root`; tar, then index, appear when the block succeeds."""
    with tar_shard(paths.image_tar(root, partition)) as tar:
        writer = ImagePartitionWriter(tar)
        yield writer
    write_table(paths.image_index(root, partition), records_to_table(writer.records))


def read_image_index(root: Path, partition: str, columns: list[str] | None = None) -> pa.Table:
    """Returns the index of one image partition, one row per attempted image, in plan order."""
    return read_table(paths.image_index(root, partition), columns)


def records_to_table(records: list[ImageRecord]) -> pa.Table:
    """Returns `records` as a table of IMAGE_SCHEMA."""
    columns = [pa.array(map(attrgetter(field.name), records), field.type, size=len(records)) for field in IMAGE_SCHEMA]
    return pa.Table.from_arrays(columns, schema=IMAGE_SCHEMA)


def record_from_row(row: dict[str, Any]) -> ImageRecord:
    """Returns the ImageRecord of one full index row."""
    reason = Reason(row["reason"]) if row["reason"] is not None else None
    return ImageRecord(**{**row, "status": Status(row["status"]), "reason": reason})


def read_stored_image(root: Path, partition: str, row: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Returns the pixels, uint8 RGB (height, width, 3), of the stored image that `row` locates.

    row: with key, data_offset, data_size.

    Raises RunError if it does not decode: everything in the store once did, so the store is damaged.
    """
    from x2i.image import decode

    path = paths.image_tar(root, partition)
    try:
        return decode(read_range(path, row["data_offset"], row["data_size"]), max_pixels=MAX_PIXELS)
    except DroppedError as error:
        raise RunError(
            f"{path}: stored image {row['key']} does not decode ({error}): the store is damaged; run `x2i verify`, "
            f"then crawl this partition again"
        ) from error


def extension(image_format: str) -> str:
    """Returns the file suffix of an image format name: "jpeg" is stored as "jpg"."""
    return "jpg" if image_format == "jpeg" else image_format
