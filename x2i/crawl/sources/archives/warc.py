"""Web archives (.warc, .warc.gz): the images in them are read where they lie, with the words of the archived pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from x2i.crawl.http.optout import header_opt_out, product_token
from x2i.crawl.sources.archives.archived import ArchivedImage, ArchivedImages
from x2i.crawl.sources.archives.files import named_files, names_files
from x2i.crawl.sources.archives.warc_record import (
    file_size,
    headers_of,
    http_status,
    payload,
    require_fastwarc,
    target_url,
    walk,
)
from x2i.crawl.sources.kind import PlanningNotes, SourceOptions
from x2i.crawl.sources.pages.page import Page, parse_page
from x2i.crawl.sources.row import SourceRow
from x2i.image.header import sniff
from x2i.reasons import Dropped, DroppedError, Reason

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

SUFFIXES = (".warc", ".warc.gz")
HTML_TYPES = ("text/html", "application/xhtml+xml")
_PARTIAL_CONTENT = 206


def is_warc(source: str) -> bool:
    return names_files(source, SUFFIXES)


def warc_rows(source: str, options: SourceOptions, notes: PlanningNotes) -> Iterator[SourceRow]:
    """Yields the images of a web archive (see SourceKind), in its order, after those it links to if they are asked for.

    The archive is read twice: for its images, then for its pages, whose words are kept for those images alone. Every
    `response` or `resource` record with a whole successful answer counts, if it says or its first bytes show that it
    is an image. Its opt-out headers are judged when it is read; a page that opts out describes and names no image.
    """
    for url in named_files(source):
        yield from _archive_rows(url, options, notes)


def _archive_rows(url: str, options: SourceOptions, notes: PlanningNotes) -> Iterator[SourceRow]:
    with ArchivedImages() as images:
        for image in _list_images(url, notes):
            images.add(image)
        if images or options.warc_links:
            agent = product_token(options.policy.user_agent)
            for page in _pages(url, agent, options.policy.max_bytes, notes):
                images.describe(page.images)
                if options.warc_links:
                    yield from (row for row in page.images if row.url not in images)
        yield from images.rows(url)


def _list_images(url: str, notes: PlanningNotes) -> Iterator[ArchivedImage]:
    """Yields the images of an archive. A record's size is known once the next one begins."""
    image: ArchivedImage | None = None
    for record, position in walk(url, notes):
        if image is not None:
            yield _until(image, position)
        address = target_url(record)
        image = None
        if address and _is_whole_answer(record) and _is_image(record):
            image = ArchivedImage(address, position, 0, record.headers.get("WARC-Date") or "")
    if image is not None:
        yield _until(image, file_size(url))


def _until(image: ArchivedImage, end: int) -> ArchivedImage:
    return ArchivedImage(image.url, image.offset, end - image.offset, image.archived)


def _pages(url: str, agent: str, max_bytes: int, notes: PlanningNotes) -> Iterator[Page]:
    """Yields the HTML pages of an archive. Damage is noted by the first walk already."""
    for record, _ in walk(url, PlanningNotes()):
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
