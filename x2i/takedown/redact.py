"""Redaction: a row that was taken down keeps its key and uid alone, so that it keeps its place and stays away."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.planning.identity import url_host
from x2i.image_record import ImageRecord
from x2i.reasons import Reason, Status
from x2i.store.tombstones import Tombstones

KEPT = ("key", "uid")
MARK = '{"taken_down":true}'
"""What the field `extra` of such a row says: a row without a URL is known by it for what it is."""


def redacted_record(record: ImageRecord) -> ImageRecord:
    """Returns the record of an image that was taken down in the place of `record`."""
    return ImageRecord(record.key, record.uid, "", Status.FILTERED, Reason.TAKEN_DOWN, extra=MARK)


def redact_rows(plan: pa.Table, keys: Collection[str]) -> pa.Table:
    """Returns planned rows with everything but KEPT emptied in those with one of `keys`: as a crawl plans them."""
    mask = pc.is_in(plan["key"].combine_chunks(), pa.array(sorted(keys), pa.string()))
    return _redacted(plan, mask)


def without_tombstoned(plan: pa.Table, tombstones: Tombstones) -> pa.Table:
    """Returns planned rows with those emptied whose source may not be fetched."""
    if not tombstones:
        return plan
    known: dict[str, bool] = {}
    covered = []
    for uid, url in zip(plan["uid"].to_pylist(), plan["url"].to_pylist()):
        host = url_host(url or "")
        if host not in known:
            known[host] = tombstones.covers_source("", host)
        covered.append(known[host] or uid in tombstones.uids)
    return _redacted(plan, pa.array(covered, pa.bool_())) if any(covered) else plan


def _redacted(plan: pa.Table, mask: pa.BooleanArray) -> pa.Table:
    columns = []
    for field in plan.schema:
        column = plan[field.name].combine_chunks()
        columns.append(column if field.name in KEPT else pc.if_else(mask, _empty(field), column))
    return pa.Table.from_arrays(columns, schema=plan.schema)


def _empty(field: pa.Field) -> pa.Scalar:
    if pa.types.is_string(field.type):
        return pa.scalar(MARK if field.name == "extra" else "", field.type)
    if pa.types.is_list(field.type):
        return pa.scalar([], field.type)
    return pa.scalar(0, field.type) if pa.types.is_integer(field.type) else pa.scalar(None, field.type)
