"""Imported images: the rows planned for them, and what the image store keeps of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from x2i.crawl.planning.identity import text_uid, url_host
from x2i.crawl.process import StoragePolicy, make_image
from x2i.image import sha256
from x2i.image_record import ImageRecord
from x2i.importers.base import ImportRecord, Rejected, SourceImage
from x2i.importers.locations import Location, LocationReader
from x2i.reasons import Dropped, DroppedError, Reason, Status
from x2i.sample import canonical_json
from x2i.store.tombstones import Tombstones
from x2i.takedown.redact import MARK

_IDENTITY = ("key", "uid", "url", "text", "text_source", "license", "extra")
_TEXTS = (*_IDENTITY[1:], "page_url", "context", "location", "file", "problem", "reason")
IMAGE_ROWS = pa.schema([*((name, pa.string()) for name in ("key", *_TEXTS)), ("line", pa.int64())])
"""Planned images. page_url, context: empty; a crawl fills them. problem, reason: of a record that gives no image."""


def image_rows(record: ImportRecord | Rejected, source: str) -> list[dict[str, Any]]:
    """Returns the rows of one record, without keys. source: the name of the source, part of its images' identity.

    An image has the identity that it would have if its folder were crawled.
    """
    where = {"file": record.file, "line": record.line}
    if isinstance(record, Rejected):
        name = f"{source}/{record.file}:{record.line}"
        rows = [{"uid": text_uid(f"record:{name}"), "problem": record.problem, "reason": str(record.reason)}]
    else:
        rows = [_row(image, source) for image in record.images]
    return [{name: _storable(row.get(name, "")) for name in _TEXTS} | where for row in rows]


def image_table(rows: Iterable[Mapping[str, Any]], partition: str) -> pa.Table:
    """Returns planned rows with their keys, as a table of IMAGE_ROWS."""
    keyed = [{**row, "key": f"{partition}-{number:05d}"} for number, row in enumerate(rows)]
    return pa.Table.from_pylist(keyed, schema=IMAGE_ROWS)


def import_image(
    row: Mapping[str, Any], reader: LocationReader, storage: StoragePolicy, tombstones: Tombstones
) -> tuple[ImageRecord, bytes | None]:
    """Returns the record of a planned image, and the bytes to store exactly when its status is ok."""
    if row["extra"] == MARK or tombstones.covers_source(row["uid"], url_host(row["url"])):
        return ImageRecord(row["key"], row["uid"], "", Status.FILTERED, Reason.TAKEN_DOWN), None
    if row["problem"]:
        return _dropped(row, Dropped(Reason(row["reason"]), row["problem"])), None
    try:
        data = reader.read(Location.from_json(row["location"]))
        image = make_image(data, storage)
    except DroppedError as error:
        return _dropped(row, error.verdict), None
    digest = sha256(data)
    if tombstones.covers_picture(digest, image.phash):
        return _dropped(row, Dropped(Reason.TAKEN_DOWN, "a copy of what was taken down")), None
    record = ImageRecord(
        **_identity(row),
        status=Status.OK,
        width=image.width,
        height=image.height,
        original_width=image.header.width,
        original_height=image.header.height,
        format=image.format,
        bytes=len(data),
        sha256=digest,
        phash=image.phash,
    )
    return record, image.data


def _row(image: SourceImage, source: str) -> dict[str, str]:
    name = image.location.name
    lineage = name if image.location.is_url else f"{source}/{name}"
    words = {"text": image.text, "text_source": "import" if image.text else "", "license": image.license}
    words["extra"] = canonical_json(dict(image.extra))
    return {"uid": text_uid(f"file:{lineage}"), "url": lineage, "location": image.location.to_json(), **words}


def _dropped(row: Mapping[str, Any], verdict: Dropped) -> ImageRecord:
    signal = verdict.detail if verdict.reason is Reason.OPT_OUT else ""
    return ImageRecord(
        **_identity(row), status=verdict.status, reason=verdict.reason, detail=verdict.detail, opt_out=signal
    )


def _identity(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: row[name] for name in _IDENTITY}, "extra": row["extra"] or "{}", "host": url_host(row["url"])}


def _storable(text: str) -> str:
    """Returns a text as a table can hold it: half a surrogate pair, which JSON can write, becomes a question mark."""
    return text if text.isascii() else text.encode(errors="replace").decode()
