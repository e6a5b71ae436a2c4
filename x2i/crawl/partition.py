"""Crawling the rows of one partition: many at once, yielded in plan order, a bounded number in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

from x2i.crawl.http.fetch import Fetcher
from x2i.crawl.http.outcome import FetchDropped, Fetched
from x2i.crawl.locations import Location
from x2i.crawl.planning.identity import url_host
from x2i.crawl.process import StoragePolicy, StoredImage, make_image
from x2i.crawl.sources import read_location
from x2i.crawl.sources.row import TEXT_FIELDS
from x2i.image import sha256
from x2i.image_record import ImageRecord
from x2i.reasons import Dropped, DroppedError, Reason, Status

_KEPT = ("key", "uid", *TEXT_FIELDS)
"""What a record takes over from the plan."""

Crawled = tuple[ImageRecord, bytes | None]
"""A record, and the bytes to store exactly when its status is ok."""


@dataclass(frozen=True)
class PlanRow:
    """One planned image. location: where the bytes lie if they need no fetching (`Location` as JSON), else ""."""

    key: str
    uid: str
    url: str
    text: str
    text_source: str
    page_url: str
    context: str
    license: str
    extra: str
    location: str


async def crawl_rows(
    rows: Sequence[PlanRow],
    fetcher: Fetcher,
    storage: StoragePolicy,
    pool: Executor,
    done: Mapping[str, Crawled] | None = None,
) -> AsyncGenerator[Crawled, None]:
    """Yields what became of each row, in the order of `rows`, whatever order the answers arrive in.

    Decoding and encoding run in `pool`, off the event loop. At most 4 x `fetcher.policy.concurrency` rows are begun
    and not yet yielded. `done`: results by key that are used instead of being fetched again.
    """
    window = 4 * fetcher.policy.concurrency
    pending: deque[asyncio.Task[Crawled]] = deque()
    try:
        for row in rows:
            if len(pending) >= window:
                yield await pending.popleft()
            pending.append(asyncio.create_task(_crawl_row(row, fetcher, storage, pool, done or {})))
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _crawl_row(
    row: PlanRow, fetcher: Fetcher, storage: StoragePolicy, pool: Executor, done: Mapping[str, Crawled]
) -> Crawled:
    if row.key in done:
        record, data = done[row.key]
        return replace(record, **_identity(row)), data
    loop = asyncio.get_running_loop()
    if row.location:
        return await loop.run_in_executor(pool, _store_located, row, fetcher.policy.max_bytes, fetcher.agent, storage)
    if not row.url:
        return _dropped(row, Dropped(Reason.BAD_URL, "the source gives no URL")), None
    async with fetcher.get(row.url) as outcome:
        if not isinstance(outcome, Fetched):
            return _dropped(row, outcome), None
        return await loop.run_in_executor(pool, _store, row, outcome.data, outcome.http_status, storage)


def _store_located(row: PlanRow, max_bytes: int, agent: str, storage: StoragePolicy) -> Crawled:
    try:
        found = read_location(Location.from_json(row.location), max_bytes, agent)
    except DroppedError as error:
        return _dropped(row, error.verdict), None
    return _store(row, found.data, found.http_status, storage)


def _store(row: PlanRow, data: bytes, http_status: int, storage: StoragePolicy) -> Crawled:
    try:
        image = make_image(data, storage)
    except DroppedError as error:
        return replace(_dropped(row, error.verdict), http_status=http_status, bytes=len(data)), None
    return _stored(row, image, http_status, data), image.data


def _stored(row: PlanRow, image: StoredImage, http_status: int, fetched: bytes) -> ImageRecord:
    return ImageRecord(
        **_identity(row),
        status=Status.OK,
        width=image.width,
        height=image.height,
        original_width=image.header.width,
        original_height=image.header.height,
        format=image.format,
        bytes=len(fetched),
        sha256=sha256(fetched),
        phash=image.phash,
        pdq=image.pdq,
        http_status=http_status,
    )


def _dropped(row: PlanRow, verdict: Dropped) -> ImageRecord:
    detail = _printable(verdict.detail)
    record = ImageRecord(**_identity(row), status=verdict.status, reason=verdict.reason, detail=detail)
    if isinstance(verdict, FetchDropped):
        return replace(record, http_status=verdict.http_status, opt_out=_printable(verdict.opt_out))
    return replace(record, opt_out=detail) if verdict.reason is Reason.OPT_OUT else record


def _printable(text: str) -> str:
    """Returns a server's text with U+FFFD for what no table can hold (no UTF-8) and no screen should show.

    Without it a single status line would cost the whole partition.
    """
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _identity(row: PlanRow) -> dict[str, Any]:
    return {**{name: getattr(row, name) for name in _KEPT}, "host": url_host(row.url)}
