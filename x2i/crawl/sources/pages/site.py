"""Web pages and sitemaps as sources: pages are read breadth first, and rows come as they are read."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import PageOptions
from x2i.crawl.sources.pages.addresses import page_identity, site_of
from x2i.crawl.sources.pages.page import Page, merged
from x2i.crawl.sources.pages.reader import PageReader, ReadPage, ReadSitemap
from x2i.crawl.sources.pages.sitemap import SitemapEntry, read_sitemap
from x2i.crawl.sources.row import SourceRow
from x2i.reasons import Dropped, DroppedError, Reason
from x2i.words import WEB_TEXT

PAGES_AT_ONCE = 32
"""Pages asked for before the first of them is taken: what bounds memory. Hosts have their own limits."""
MAX_SITEMAPS = 1000
MAX_SITEMAP_DEPTH = 3
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".bmp", ".tif", ".tiff")
_FILE_SUFFIXES = (
    *_IMAGE_SUFFIXES,
    *(".svg", ".ico", ".heic", ".pdf", ".zip", ".gz", ".tar", ".7z", ".rar", ".exe", ".dmg", ".iso", ".epub"),
    *(".mp4", ".mov", ".avi", ".webm", ".mp3", ".wav", ".ogg", ".woff", ".woff2", ".css", ".js", ".json", ".xml"),
    *(".rss", ".csv", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx"),
)
_WHOLE_SITE_REMARK = "page sources have more pages than --max-pages allows"


class PageSource(SourceKind):
    """A page of the web, or a sitemap."""

    title = "web page"
    looks_like = "an http(s) URL"
    text_source = WEB_TEXT
    options_class = PageOptions
    uses_network = True
    rereadable = True

    @classmethod
    def accepts(cls, source: str) -> bool:
        return source.lower().startswith(("http://", "https://"))

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        """Yields the images of the page, or of the pages of the sitemap, and of the pages they link to."""
        with PageReader(self.policy) as reader:
            yield from SiteCrawl(self.source, reader, self.options, notes).rows()

    def digest(self) -> str:
        """Returns a digest of the address alone: what a page holds is seen only by reading it again."""
        return hashlib.sha256(self.source.encode()).hexdigest()


class SiteCrawl:
    """Reads a start page, or the pages of a sitemap, and `depth` links deep the pages of the same site.

    At most `max_pages` pages are asked for. They are taken breadth first in the order of their links, whatever order
    their answers arrive in; what is kept between pages is their addresses.
    """

    def __init__(self, start: str, reader: PageReader, options: PageOptions, notes: PlanningNotes) -> None:
        self._start = start
        self._reader = reader
        self._options = options
        self._notes = notes
        self._sites = {site_of(start)}
        self._seen = {page_identity(start)}
        self._asked = 0
        self._sitemaps_read = 0
        self._has_more = False

    def rows(self) -> Iterator[SourceRow]:
        """Yields the images in the order of the pages, and of each page."""
        level: Iterator[SitemapEntry] = self._first_level()
        for remaining in range(self._options.depth, -1, -1):
            following: list[SitemapEntry] = []
            while batch := list(itertools.islice(level, self._room(PAGES_AT_ONCE))):
                self._asked += len(batch)
                self._notes.pages += len(batch)
                answers = self._reader.read_pages([entry.url for entry in batch])
                for entry, answer in zip(batch, answers, strict=True):
                    if isinstance(answer, ReadSitemap) and entry.url == self._start:
                        level = itertools.chain(self._entries(answer, MAX_SITEMAP_DEPTH), level)
                        continue
                    page = self._accepted_page(entry, answer)
                    if page is None:
                        continue
                    yield from merged(page.images if page.opt_out else [*page.images, *entry.images])
                    following += self._next(page.links, len(following), remaining)
            if self._room(1) == 0 and next(level, None) is not None:
                self._has_more = True
            level = iter(following)
        if self._has_more:
            self._notes.remarks[_WHOLE_SITE_REMARK] += 1

    def _room(self, wanted: int) -> int:
        return min(wanted, self._options.max_pages - self._asked)

    def _first_level(self) -> Iterator[SitemapEntry]:
        """Yields the start page, then what the site's sitemaps name if they are asked for; of a sitemap, its pages."""
        sitemap = self._reader.read_sitemap(self._start) if _may_be_sitemap(self._start) else None
        if isinstance(sitemap, ReadSitemap):
            self._sites.add(site_of(sitemap.url))
            yield from self._entries(sitemap, MAX_SITEMAP_DEPTH)
            return
        yield SitemapEntry(self._start)
        if self._options.sitemaps:
            for url in self._reader.sitemaps_of(self._start):
                yield from self._entries_at(url, MAX_SITEMAP_DEPTH)

    def _entries_at(self, url: str, depth: int) -> Iterator[SitemapEntry]:
        """Yields the new pages of the sitemap at `url`, if it is of this site and not read yet."""
        if not self._is_new(url) or self._sitemaps_read >= MAX_SITEMAPS:
            return
        if site_of(url) not in self._sites:
            self._fail(url, Dropped(Reason.NOT_SELECTED, "a sitemap of another site"))
            return
        sitemap = self._reader.read_sitemap(url)
        if isinstance(sitemap, Dropped):
            self._fail(url, sitemap)
        elif sitemap is None:
            self._fail(url, Dropped(Reason.UNSUPPORTED_FORMAT, "it is not a sitemap"))
        else:
            yield from self._entries(sitemap, depth)

    def _entries(self, sitemap: ReadSitemap, depth: int) -> Iterator[SitemapEntry]:
        self._sitemaps_read += 1
        entries = read_sitemap(sitemap.data, sitemap.url)
        try:
            for entry in entries:
                if not entry.is_sitemap and site_of(entry.url) in self._sites and self._is_new(entry.url):
                    yield entry
                elif entry.is_sitemap and depth > 1:
                    yield from self._entries_at(entry.url, depth - 1)
        except DroppedError as error:
            self._fail(sitemap.url, error.verdict)

    def _accepted_page(self, entry: SitemapEntry, answer: ReadPage | ReadSitemap | Dropped) -> Page | None:
        """Returns the page if its images may be taken, or its links followed; else notes why not."""
        if isinstance(answer, Dropped):
            self._notes.failures.append((entry.url, answer))
            return None
        if isinstance(answer, ReadSitemap):
            fix = "a sitemap: name it as a source of its own"
            self._notes.failures.append((entry.url, Dropped(Reason.UNSUPPORTED_FORMAT, fix)))
            return None
        if entry.url == self._start:
            self._sites.add(site_of(answer.url))
        elif site_of(answer.url) not in self._sites:
            where = f"it leads to another site: {answer.url[:200]}"
            self._notes.failures.append((entry.url, Dropped(Reason.NOT_SELECTED, where)))
            return None
        page = answer.page
        if page.opt_out:
            self._notes.failures.append((entry.url, Dropped(Reason.OPT_OUT, page.opt_out)))
            return Page((), page.links, page.opt_out)
        if page.refresh and not page.images:
            where = f"it only sends visitors on to {page.refresh[:200]}: name that as the source"
            self._notes.failures.append((entry.url, Dropped(Reason.NOT_SELECTED, where)))
        return page

    def _next(self, links: tuple[str, ...], waiting: int, remaining: int) -> Iterator[SitemapEntry]:
        """Yields the links to follow from a page; no more wait than the budget has room for."""
        if not remaining:
            return
        for link in links:
            if site_of(link) in self._sites and not _is_file(link, _FILE_SUFFIXES) and self._is_new(link):
                if waiting >= self._options.max_pages - self._asked:
                    self._has_more = True
                    return
                waiting += 1
                yield SitemapEntry(link)

    def _is_new(self, url: str) -> bool:
        identity = page_identity(url)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True

    def _fail(self, url: str, verdict: Dropped) -> None:
        self._notes.pages += 1
        self._notes.failures.append((url, verdict))


def _may_be_sitemap(url: str) -> bool:
    """Whether an address looks like that of a sitemap; then it is fetched as one, and its content decides."""
    path = url.partition("?")[0].lower()
    return "sitemap" in path.rpartition("/")[2] or path.endswith((".xml", ".xml.gz", ".txt", ".txt.gz"))


def _is_file(url: str, suffixes: tuple[str, ...]) -> bool:
    return url.partition("?")[0].lower().endswith(suffixes)
