"""From sources to planned rows: every URL once, in the order of the sources, with notes of what could not be read."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urldefrag

from x2i.crawl.fetch import Fetcher
from x2i.crawl.optout import product_token
from x2i.crawl.partition import PlanRow
from x2i.crawl.policy import FetchPolicy
from x2i.crawl.sources import (
    PageCrawl,
    SourceKind,
    SourceRow,
    TableColumns,
    crawl_pages,
    kind_of,
    read_folder,
    read_local_page,
    read_table,
)
from x2i.reasons import Dropped, Reason
from x2i.sample import canonical_json


@dataclass
class PlanningNotes:
    """What planning met beside the rows: pages that gave nothing, and rows that named a URL again."""

    pages: int = 0
    failures: list[tuple[str, Dropped]] = field(default_factory=list)
    repeated: int = 0

    def summary(self) -> str:
        """Returns one line for people, "" if there is nothing to tell."""
        counts: dict[str, int] = {}
        for _, verdict in self.failures:
            counts[str(verdict.reason)] = counts.get(str(verdict.reason), 0) + 1
        parts = []
        if counts:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
            parts.append(f"{len(self.failures)} of {self.pages} pages gave no images: {reasons}")
        if self.repeated:
            parts.append(f"{self.repeated} URLs were named more than once and are planned once")
        return "; ".join(parts)


def plan_rows(
    sources: Sequence[str], columns: TableColumns, policy: FetchPolicy, depth: int, max_pages: int, notes: PlanningNotes
) -> Iterator[PlanRow]:
    """Yields the rows to crawl, without their keys, and fills `notes`. A URL counts without its fragment.

    Raises UserError for a source that cannot be read. A page that cannot be fetched is noted, and the rest goes on.
    """
    seen: set[int] = set()
    number = 0
    for index, source in enumerate(sources):
        for row in _source_rows(source, columns, policy, depth, max_pages, notes):
            number += 1
            planned = _plan_row(row, index, number)
            identity = int(planned.uid[:16], 16)
            if identity in seen:
                notes.repeated += 1
                continue
            seen.add(identity)
            yield planned


def _source_rows(
    source: str, columns: TableColumns, policy: FetchPolicy, depth: int, max_pages: int, notes: PlanningNotes
) -> Iterator[SourceRow]:
    kind = kind_of(source)
    if kind is SourceKind.TABLE:
        yield from read_table(Path(source), columns)
    elif kind is SourceKind.FOLDER:
        yield from read_folder(Path(source))
    elif kind is SourceKind.LOCAL_PAGE:
        rows, opt_out = read_local_page(Path(source), product_token(policy.user_agent))
        notes.pages += 1
        if opt_out:
            notes.failures.append((source, Dropped(Reason.OPT_OUT, opt_out)))
        yield from rows
    else:
        found = asyncio.run(_crawl_pages(source, policy, depth, max_pages))
        notes.pages += found.pages
        notes.failures += found.failures
        yield from found.rows


async def _crawl_pages(source: str, policy: FetchPolicy, depth: int, max_pages: int) -> PageCrawl:
    async with Fetcher(policy) as fetcher:
        return await crawl_pages(source, fetcher, depth, max_pages)


def _plan_row(row: SourceRow, source: int, number: int) -> PlanRow:
    """uid: of the URL; of a local file, its stable name, so that moving a folder keeps the identity of its images.

    Two folders of one name cannot be told apart by that, so the later source's number is part of the name.
    """
    url = row.url if row.local else urldefrag(row.url.strip()).url
    if row.local:
        identity = f"file:{source}:{row.name}" if source else f"file:{row.name}"
    else:
        identity = url or f"row:{source}:{number}"
    return PlanRow(
        key="",
        uid=hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:24],
        url=_storable(url),
        text=_storable(row.text),
        page_url=_storable(row.page_url),
        context=_storable(row.context),
        licence=_storable(row.licence),
        extra=_storable(canonical_json(dict(row.extra))),
        local=row.local,
    )


def _storable(text: str) -> str:
    """Returns `text` as UTF-8 can hold it: half a surrogate pair, which JSON can write, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
