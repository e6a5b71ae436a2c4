"""Fetching pages and sitemaps while planning: as polite as any other fetch, and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urljoin

from protego import Protego

from x2i.crawl.http.outcome import Fetched, FetchError
from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.http.robots import MAX_ROBOTS_BYTES
from x2i.crawl.sources.pages import sitemap
from x2i.crawl.sources.pages.addresses import absolute
from x2i.crawl.sources.pages.page import Page, parse_page
from x2i.crawl.sources.row import SourceRow
from x2i.image.header import sniff
from x2i.reasons import Dropped, DroppedError, Reason

HTML_TYPES = ("text/html", "application/xhtml+xml", "text/plain", "application/octet-stream", "")
_XML_TYPES = ("text/xml", "application/xml")
_ACCEPT = "text/html, application/xhtml+xml;q=0.9, */*;q=0.1"


@dataclass(frozen=True)
class ReadPage:
    """A page, and where it came from in the end, after redirects."""

    page: Page
    url: str


@dataclass(frozen=True)
class ReadSitemap:
    """A sitemap as it came, and where it came from in the end."""

    data: bytes
    url: str


class PageReader:
    """Reads pages for code that is not asynchronous. Between calls nothing is under way. Used as a context manager."""

    def __init__(self, policy: FetchPolicy) -> None:
        from x2i.crawl.http.fetch import Fetcher

        self._fetcher = Fetcher(policy)
        self._runner = asyncio.Runner()

    def __enter__(self) -> PageReader:
        self._runner.run(self._fetcher.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._fetcher.__aexit__(kind, error, traceback))
        finally:
            self._runner.close()

    def read_pages(self, urls: Sequence[str]) -> list[ReadPage | ReadSitemap | Dropped]:
        """Returns what became of each of `urls`, in their order; an image counts as a page that shows itself."""
        return self._runner.run(self._read_all(urls))

    def read_sitemap(self, url: str) -> ReadSitemap | Dropped | None:
        """Returns the sitemap at `url`, cut after as many bytes as a sitemap may have; None if it is something else."""
        answer = self._runner.run(self._fetcher.get_listing(url, sitemap.TYPES, sitemap.MAX_BYTES))
        if not isinstance(answer, Fetched):
            return answer
        return ReadSitemap(answer.data, answer.url) if sitemap.is_sitemap(answer.data, answer.content_type) else None

    def sitemaps_of(self, url: str) -> list[str]:
        """Returns the sitemaps that the robots.txt of a site names, in its order; none if it cannot be read."""
        address = urljoin(url, "/robots.txt")
        answer = self._runner.run(self._fetcher.get_listing(address, "text/plain", MAX_ROBOTS_BYTES))
        if not isinstance(answer, Fetched):
            return []
        named = Protego.parse(answer.data.decode("utf-8-sig", errors="replace")).sitemaps
        return [found for one in named if (found := absolute(answer.url, one))]

    async def _read_all(self, urls: Sequence[str]) -> list[ReadPage | ReadSitemap | Dropped]:
        return list(await asyncio.gather(*(self._read(url) for url in urls)))

    async def _read(self, url: str) -> ReadPage | ReadSitemap | Dropped:
        async with self._fetcher.get(url, accept=_ACCEPT) as outcome:
            if not isinstance(outcome, Fetched):
                return outcome
            # Parsing a large page takes seconds, in which the other downloads must not time out.
            read = await asyncio.to_thread(_interpret, outcome, url, self._fetcher.agent)
        if not isinstance(read, ReadPage) or not read.page.licenses:
            return read
        try:
            await self._fetcher.require_terms(read.url, read.page.licenses)
        except FetchError as error:
            if not error.verdict.opt_out:
                return error.verdict
            return ReadPage(Page((), read.page.links, error.verdict.opt_out), read.url)
        return read


def _interpret(outcome: Fetched, url: str, agent: str) -> ReadPage | ReadSitemap | Dropped:
    if _is_image(outcome.data):
        return ReadPage(Page((SourceRow(url=url),), (), ""), outcome.url)
    if sitemap.is_sitemap(outcome.data, outcome.content_type):
        return ReadSitemap(outcome.data, outcome.url)
    is_page = outcome.content_type in HTML_TYPES
    if is_page or (outcome.content_type in _XML_TYPES and b"<html" in outcome.data[:2000]):
        return ReadPage(parse_page(outcome.data, outcome.url, outcome.charset, agent), outcome.url)
    return Dropped(Reason.UNSUPPORTED_FORMAT, f"{outcome.content_type} is neither a page nor an image")


def _is_image(data: bytes) -> bool:
    try:
        return bool(sniff(data))
    except DroppedError:
        return False
