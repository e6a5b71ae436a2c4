"""The tombstone list applied to a crawl: which rows are not fetched, and which fetched images are not stored."""

from __future__ import annotations

from collections.abc import Iterable

from x2i.crawl.partition import Crawled, PlanRow
from x2i.crawl.planning.identity import url_host
from x2i.crawl.sources.row import TEXT_FIELDS
from x2i.image_record import ImageRecord
from x2i.reasons import Dropped, Reason, Status
from x2i.store.tombstones import Tombstones
from x2i.takedown.redact import MARK

_KEPT = ("key", "uid", *TEXT_FIELDS, "host", "http_status", "bytes")


def taken_down_rows(rows: Iterable[PlanRow], tombstones: Tombstones) -> dict[str, Crawled]:
    """Returns, by key, the results of the rows whose source may not be fetched."""
    return {
        row.key: (ImageRecord(row.key, row.uid, "", Status.FILTERED, Reason.TAKEN_DOWN), None)
        for row in rows
        if row.extra == MARK or tombstones.covers_source(row.uid, url_host(row.url))
    }


def without_taken_down(crawled: Crawled, tombstones: Tombstones) -> Crawled:
    """Returns a result as it is, or without its picture if a copy of that was taken down.

    Such a row keeps its URL and texts, as for any other reason: they are what one needs to take it down too.
    """
    record, data = crawled
    if data is None or not tombstones.covers_picture(record.sha256, record.phash or 0):
        return crawled
    identity = {name: getattr(record, name) for name in _KEPT}
    verdict = Dropped(Reason.TAKEN_DOWN, "a copy of what was taken down")
    return ImageRecord(**identity, status=verdict.status, reason=verdict.reason, detail=verdict.detail), None
