"""Web archives (.warc, .warc.gz): the images in them are read where they lie, with the words of the archived pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from x2i.crawl.http.optout import header_opt_out
from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.locations import LocatedBytes, Location
from x2i.crawl.sources.archives.archived import ArchivedImage, ArchivedImages
from x2i.crawl.sources.archives.files import files_digest, named_files, names_files
from x2i.crawl.sources.archives.warc_record import (
    file_size,
    headers_of,
    http_status,
    iterate_records,
    payload,
    read_record,
    require_fastwarc,
    target_url,
)
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import ArchiveOptions
from x2i.crawl.sources.pages.page import Page, parse_page
from x2i.crawl.sources.row import SourceRow
from x2i.image.header import sniff
from x2i.reasons import Dropped, DroppedError, Reason
from x2i.words import WEB_TEXT

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

SUFFIXES = (".warc", ".warc.gz")
HTML_TYPES = ("text/html", "application/xhtml+xml")
_PARTIAL_CONTENT = 206


class WarcSource(SourceKind):
    """A web archive, or several that a pattern names."""

    title = "web archive"
    looks_like = " ".join(SUFFIXES)
    text_source = WEB_TEXT
    options_class = ArchiveOptions

    def __init__(self, source: str, options: ArchiveOptions | None = None, policy: FetchPolicy | None = None) -> None:
        super().__init__(source, options, policy)
        self.uses_network = self.options.warc_links

    @classmethod
    def accepts(cls, source: str) -> bool:
        return names_files(source, SUFFIXES)

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        """Yields the images of each archive in its order, after those it links to if they are asked for.

        An archive is read twice: for its images, then for its pages, whose text is kept for those images alone. Every
        `response` or `resource` record with a whole successful answer counts, if its content type or its first bytes
        are an image's. Its opt-out headers are checked when it is read; a page that opts out gives text to no image.
        """
        for url in named_files(self.source):
            yield from self._archive_rows(url, notes)

    def digest(self) -> str:
        return files_digest(self.source)

    @classmethod
    def read_location(cls, location: Location, max_bytes: int, agent: str) -> LocatedBytes:
        return read_record(location, max_bytes, agent)

    def _archive_rows(self, url: str, notes: PlanningNotes) -> Iterator[SourceRow]:
        with ArchivedImages() as images:
            for image in _list_images(url, notes):
                images.add(image)
            if images or self.options.warc_links:
                for page in _pages(url, self.policy.product_token, self.policy.max_bytes, notes):
                    images.add_page_text(page.images)
                    if self.options.warc_links:
                        yield from (row for row in page.images if row.url not in images)
            yield from images.rows(url)


def _list_images(url: str, notes: PlanningNotes) -> Iterator[ArchivedImage]:
    """Yields the images of an archive. A record's size is known once the next one begins."""
    image: ArchivedImage | None = None
    for record, position in iterate_records(url, notes):
        if image is not None:
            yield replace(image, size=position - image.offset)
        address = target_url(record)
        image = None
        if address and _is_whole_answer(record) and _is_image(record):
            image = ArchivedImage(address, position, 0, record.headers.get("WARC-Date") or "")
    if image is not None:
        yield replace(image, size=file_size(url) - image.offset)


def _pages(url: str, agent: str, max_bytes: int, notes: PlanningNotes) -> Iterator[Page]:
    """Yields the HTML pages of an archive. Damage is noted by `_list_images` already."""
    for record, _ in iterate_records(url, PlanningNotes()):
        if not _is_whole_answer(record) or _content_type(record) not in HTML_TYPES:
            continue
        address = target_url(record)
        notes.pages += 1
        signal = header_opt_out(headers_of(record), agent)
        try:
            page = Page((), (), signal) if signal else _read_page(record, address, agent, max_bytes)
        except DroppedError as error:
            notes.failures.append((address, error.verdict))
            continue
        if page.opt_out:
            notes.failures.append((address, Dropped(Reason.OPT_OUT, page.opt_out)))
        yield page


def _read_page(record: WarcRecord, address: str, agent: str, max_bytes: int) -> Page:
    return parse_page(payload(record, max_bytes), address, record.http_charset, agent)


def _is_whole_answer(record: WarcRecord) -> bool:
    """Parses the HTTP headers of a record and says whether it holds a successful answer, or a file as it was."""
    types = require_fastwarc().WarcRecordType
    if record.record_type not in (types.response, types.resource):
        return False
    try:
        record.parse_http()
    except OSError:  # headers beyond all measure or sense: no answer that could be used
        return False
    if record.record_type == types.resource:
        return True
    status = http_status(record)
    return 200 <= status < 300 and status != _PARTIAL_CONTENT


def _is_image(record: WarcRecord) -> bool:
    """Whether the content type or, where that says something else than a page, the first bytes are an image's."""
    content_type = _content_type(record)
    if content_type.startswith("image/"):
        return True
    if content_type in HTML_TYPES:
        return False
    try:
        return bool(sniff(record.reader.read(512)))
    except (DroppedError, OSError):
        return False


def _content_type(record: WarcRecord) -> str:
    """Returns the media type of an answer's body; of a record without HTTP headers, its own."""
    if record.http_headers is not None:
        return (record.http_content_type or "").lower()
    return (record.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
