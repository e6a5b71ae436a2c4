"""Imported training samples: the rows planned for them, and what a shard keeps of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from x2i.crawl.planning.identity import content_uid
from x2i.image import decode, encode, phash, read_header, sha256
from x2i.importers.base import ImportRecord, Rejected, SourceImage, SourceSample
from x2i.importers.locations import Location, LocationReader
from x2i.reasons import DroppedError, Reason
from x2i.sample import InvalidSampleError, Lineage, RecipeStamp, Sample
from x2i.store.shards import EncodedImage
from x2i.store.tombstones import Tombstones

SHARD_FORMATS = frozenset({"jpeg", "png", "webp"})
_WHERE = (("file", pa.string()), ("line", pa.int64()))
_IMAGES = tuple((name, pa.list_(pa.string())) for name in ("locations", "names", "licenses"))
SAMPLE_ROWS = pa.schema([*((name, pa.string()) for name in ("key", "task", "instruction")), *_WHERE, *_IMAGES])
"""Planned samples; the lists hold one entry for each input in order, then the output's."""
REJECTED_ROWS = pa.schema([*_WHERE, ("problem", pa.string()), ("reason", pa.string())])
_UNKNOWN = Lineage(("unknown",), ("",), ("",))


@dataclass(frozen=True, order=True)
class SampleKind:
    """What the samples of a shard have in common. formats: those that the names of their images promise."""

    task: str
    num_inputs: int
    formats: tuple[str, ...]

    @classmethod
    def of(cls, sample: SourceSample) -> SampleKind:
        return cls(sample.task, len(sample.inputs), tuple(_promised_format(image) for image in sample.images))


def checked(record: ImportRecord | Rejected) -> ImportRecord | Rejected:
    """Returns a record as it is, or what is wrong with it, as far as that shows without its images."""
    if isinstance(record, Rejected):
        return record
    sample = record.sample
    if sample is None:
        return Rejected(record.file, record.line, "holds no training sample")
    try:
        sizes = ((1, 1),) * len(sample.images)
        Sample(sample.key, sample.task, sample.instruction, sizes, _UNKNOWN, RecipeStamp("", 1))
    except InvalidSampleError as error:
        return Rejected(record.file, record.line, str(error))
    return record


def sample_table(records: Sequence[ImportRecord]) -> pa.Table:
    """Returns checked records as planned rows, SAMPLE_ROWS."""
    return pa.Table.from_pylist([_row(record) for record in records], schema=SAMPLE_ROWS)


def rejected_table(records: Sequence[Rejected]) -> pa.Table:
    """Returns records of which nothing is made as planned rows, REJECTED_ROWS."""
    return pa.Table.from_pylist([{**vars(r), "reason": str(r.reason)} for r in records], schema=REJECTED_ROWS)


def import_sample(
    row: Mapping[str, Any], reader: LocationReader, tombstones: Tombstones, made_by: tuple[str, int]
) -> tuple[Sample, list[EncodedImage], EncodedImage]:
    """Returns the sample of a planned row, its inputs and its output. Bytes stay as they are in SHARD_FORMATS.

    made_by: name and version of the importer. Raises DroppedError that says why there is none.
    """
    if "problem" in row:
        raise DroppedError(Reason(row["reason"]), row["problem"])
    images = [_read(*named, reader, tombstones) for named in zip(row["locations"], row["names"], strict=True)]
    source = Lineage(tuple(uid for uid, _, _ in images), tuple(row["names"]), tuple(row["licenses"]))
    stamp = RecipeStamp(*made_by, {"file": row["file"], "line": row["line"]})
    sizes = tuple(size for _, size, _ in images)
    sample = Sample(row["key"], row["task"], row["instruction"], sizes, source, stamp)
    *inputs, output = (image for _, _, image in images)
    return sample, inputs, output


def _read(
    location: str, name: str, reader: LocationReader, tombstones: Tombstones
) -> tuple[str, tuple[int, int], EncodedImage]:
    """Returns (uid, (width, height), image)."""
    try:
        data = reader.read(Location.from_json(location))
        pixels = decode(data)
        image_format = read_header(data).format
    except DroppedError as error:
        raise DroppedError(error.verdict.reason, f"{name}: {error.verdict.detail}") from error
    digest = sha256(data)
    shown = phash(pixels) if tombstones.phashes else 0
    if content_uid(digest) in tombstones.uids or tombstones.covers_picture(digest, shown):
        raise DroppedError(Reason.TAKEN_DOWN, name)
    stored = EncodedImage(data, image_format)
    if image_format not in SHARD_FORMATS:
        stored = EncodedImage(encode(pixels, "png"), "png")
    return content_uid(digest), (pixels.shape[1], pixels.shape[0]), stored


def _row(record: ImportRecord) -> dict[str, Any]:
    assert record.sample is not None
    images = record.sample.images
    return {
        **{name: getattr(record.sample, name) for name in ("key", "task", "instruction")},
        "file": record.file,
        "line": record.line,
        "locations": [image.location.to_json() for image in images],
        "names": [str(image.extra.get("path") or image.location.name) for image in images],
        "licenses": [image.license for image in images],
    }


def _promised_format(image: SourceImage) -> str:
    """Returns the format that a name's ending promises, as shards spell it: jpg for .jpeg and .JPG."""
    suffix = PurePosixPath(image.location.member or image.location.path).suffix.lower().lstrip(".")
    return "jpg" if suffix == "jpeg" else suffix
