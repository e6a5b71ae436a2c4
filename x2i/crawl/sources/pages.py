"""Web pages as a source: a page, and to a depth the pages of the same site that it links to; and saved pages."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from x2i.crawl.fetch import Fetched, Fetcher
from x2i.crawl.sources.page import Page, parse_page
from x2i.crawl.sources.row import SourceRow
from x2i.image.header import sniff
from x2i.reasons import Dropped, DroppedError, Reason

HTML_TYPES = ("text/html", "application/xhtml+xml", "text/plain", "application/octet-stream", "")
_FILE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".gif",
    ".webp",
    ".avif",
    ".svg",
    ".pdf",
    ".zip",
    ".gz",
    ".mp4",
    ".mp3",
    ".css",
)


@dataclass
class PageCrawl:
    """What a start page gave: rows in reading order, and every page that gave none, with the reason."""

    rows: list[SourceRow] = field(default_factory=list)
    failures: list[tuple[str, Dropped]] = field(default_factory=list)
    pages: int = 0


async def crawl_pages(start: str, fetcher: Fetcher, depth: int, max_pages: int) -> PageCrawl:
    """Reads `start` and, `depth` links deep, pages of the same host and port; at most `max_pages` pages in all.

    Pages are taken breadth first in the order of their links, whatever order their answers arrive in.
    """
    found = PageCrawl()
    seen, level = {start}, [start]
    for remaining in range(depth, -1, -1):
        level = level[: max_pages - found.pages]
        found.pages += len(level)
        answers = await asyncio.gather(*(_read(url, fetcher) for url in level))
        following: list[str] = []
        for url, answer in zip(level, answers):
            if isinstance(answer, Dropped):
                found.failures.append((url, answer))
                continue
            found.rows += answer.images
            if answer.opt_out:
                found.failures.append((url, Dropped(Reason.OPT_OUT, answer.opt_out)))
            if remaining:
                following += [link for link in answer.links if _is_next(link, start, seen)]
                seen.update(following)
        level = following
    return found


def read_local_page(path: Path, agent: str) -> tuple[list[SourceRow], str]:
    """Returns the images of a saved .html file, and its opt-out signal or "".

    Its relative addresses are files; only those below the page's own folder are read, so a page cannot name others.
    """
    path = path.resolve()
    page = parse_page(path.read_bytes(), path.as_uri(), agent=agent)
    return [_localised(row, path) for row in page.images], page.opt_out


async def _read(url: str, fetcher: Fetcher) -> Page | Dropped:
    async with fetcher.get(url, accept="text/html, application/xhtml+xml;q=0.9, */*;q=0.1") as outcome:
        if not isinstance(outcome, Fetched):
            return outcome
        if outcome.content_type in HTML_TYPES and not _is_image(outcome.data):
            return parse_page(outcome.data, outcome.url, outcome.charset, fetcher.agent)
        if _is_image(outcome.data):
            return Page((SourceRow(url=url),), (), "")
        return Dropped(Reason.UNSUPPORTED_FORMAT, f"{outcome.content_type} is neither a page nor an image")


def _is_image(data: bytes) -> bool:
    try:
        return bool(sniff(data))
    except DroppedError:
        return False


def _is_next(link: str, start: str, seen: set[str]) -> bool:
    here, there = urlsplit(start), urlsplit(link)
    return here.netloc == there.netloc and link not in seen and not there.path.lower().endswith(_FILE_SUFFIXES)


def _localised(row: SourceRow, page: Path) -> SourceRow:
    """Marks an image of a saved page as a local file if it lies below the page's folder."""
    parts = urlsplit(row.url)
    if parts.scheme != "file":
        return row
    path = Path(os.fsdecode(unquote_to_bytes(parts.path))).resolve()
    if not path.is_relative_to(page.parent):
        return row
    name = f"{page.parent.name}/{path.relative_to(page.parent).as_posix()}"
    return replace(row, url=path.as_uri(), local=True, name=name)
