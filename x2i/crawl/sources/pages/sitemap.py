"""Sitemaps (sitemaps.org): XML, gzipped XML and plain text; the pages they name, with Google's image extension."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from xml.parsers import expat

from x2i.crawl.sources.pages.addresses import MAX_LENGTH, absolute
from x2i.crawl.sources.pages.encoding import decode_html
from x2i.crawl.sources.pages.metadata_images import TEXT_LENGTH
from x2i.crawl.sources.pages.surrounding_text import squeeze
from x2i.crawl.sources.row import SourceRow
from x2i.reasons import DroppedError, Reason

MAX_BYTES = 50 * 1024 * 1024
MAX_ENTRIES = 50_000
"""The limits of one sitemap (sitemaps.org, "Sitemap file requirements"), unpacked; what stands beyond is not read."""
MAX_IMAGES = 1000
"""Images of one page, as Google's extension allows."""
TYPES = "application/xml, text/xml;q=0.9, application/gzip;q=0.9, text/plain;q=0.8, */*;q=0.1"
_GZIP = b"\x1f\x8b"
_ROOT = re.compile(r"<\s*(?:[\w.-]+:)?(urlset|sitemapindex)\b")
_PROLOGUE = re.compile(r"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE[^>\[]*(?:\[[^\]]*\])?[^>]*>\s*)*", re.DOTALL)
_CDATA_OR_BARE = re.compile(
    r"<!\[CDATA\[.*?(?:\]\]>|\Z)|&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});)", re.DOTALL
)
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_URL_LINE = re.compile(r"https?://\S+", re.IGNORECASE)
_CHUNK = 65_536
_SITEMAP = "http://www.sitemaps.org/schemas/sitemap/"
_IMAGE = "http://www.google.com/schemas/sitemap-image/"
_FIELDS = ("loc", "caption", "title", "license", "geo_location")


@dataclass(frozen=True)
class SitemapEntry:
    """One page with the images that the sitemap names for it, or one further sitemap (of an index)."""

    url: str
    is_sitemap: bool = False
    images: tuple[SourceRow, ...] = ()


def is_sitemap(data: bytes, content_type: str = "") -> bool:
    """Whether `data` is a sitemap: its content decides; of plain text, that each line is a URL."""
    head = _unpacked(data[:_CHUNK], _CHUNK) if data.startswith(_GZIP) else data[:_CHUNK]
    text = decode_html(head)
    if _ROOT.match(text, _after_prologue(text)):
        return True
    return content_type in ("text/plain", "") and _is_url_list(text, whole=len(head) < _CHUNK)


def read_sitemap(data: bytes, url: str) -> Iterator[SitemapEntry]:
    """Yields the entries of a sitemap that was fetched from `url`, as they are parsed; addresses are absolute.

    Raises DroppedError(BAD_ENCODING) where its markup breaks off or declares entities (what stands before was
    yielded), and BODY_TRUNCATED where it is longer than a sitemap may be.
    """
    packed = data.startswith(_GZIP)
    if packed:
        data = _unpacked(data, MAX_BYTES + 1)
    is_cut = len(data) >= MAX_BYTES
    text = decode_html(data[:MAX_BYTES])
    del data
    entries = _read_xml(text, url) if text.lstrip()[:1] == "<" else _read_lines(text, url)
    for number, entry in enumerate(entries):
        if number == MAX_ENTRIES:
            raise DroppedError(Reason.BODY_TRUNCATED, f"more than {MAX_ENTRIES} entries")
        yield entry
    if is_cut:
        raise DroppedError(Reason.BODY_TRUNCATED, f"more than {MAX_BYTES} bytes")


def _read_lines(text: str, base: str) -> Iterator[SitemapEntry]:
    for line in text.splitlines():
        if _URL_LINE.fullmatch(line.strip()) and (url := absolute(base, line)):
            yield SitemapEntry(url)


def _read_xml(text: str, base: str) -> Iterator[SitemapEntry]:
    """Parses piece by piece. A bare "&", which sitemaps often hold, is read as one; no entity is ever expanded."""
    builder = _Builder(base)
    parser = expat.ParserCreate("utf-8", " ")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.EntityDeclHandler = _refuse_entity
    text = _NOT_XML.sub("", _CDATA_OR_BARE.sub(lambda m: "&amp;" if m[0] == "&" else m[0], text).lstrip())
    try:
        for start in range(0, len(text), _CHUNK):
            parser.Parse(text[start : start + _CHUNK].encode("utf-8", "replace"), False)
            yield from builder.take()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        yield from builder.take()
        raise DroppedError(Reason.BAD_ENCODING, f"not well-formed XML: {error}") from error
    yield from builder.take()


def _refuse_entity(*_: object) -> None:
    raise DroppedError(Reason.BAD_ENCODING, "the sitemap declares entities")


class _Builder:
    """Makes entries of XML events; prefixes and versions of the namespaces do not matter."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._done: list[SitemapEntry] = []
        self._text: list[str] | None = None
        self._length = 0
        self._page: dict[str, str] = {}
        self._image: dict[str, str] | None = None
        self._images: list[dict[str, str]] = []

    def take(self) -> list[SitemapEntry]:
        done, self._done = self._done, []
        return done

    def start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        self._text, self._length = ([], 0) if local in _FIELDS else (None, 0)
        if local in ("url", "sitemap") and not space.startswith(_IMAGE):
            self._page, self._images, self._image = {}, [], None
        elif local == "image":
            self._image = {}

    def characters(self, text: str) -> None:
        if self._text is not None and self._length <= MAX_LENGTH:
            self._text.append(text)
            self._length += len(text)

    def end(self, name: str) -> None:
        local = name.rpartition(" ")[2]
        if self._text is not None and local in _FIELDS:
            words = "".join(self._text).strip()
            (self._page if self._image is None else self._image).setdefault(local, words)
        self._text = None
        if local == "image" and self._image is not None:
            if len(self._images) < MAX_IMAGES:
                self._images.append(self._image)
            self._image = None
        elif local in ("url", "sitemap"):
            page = absolute(self._base, self._page.get("loc", ""))
            rows = tuple(row for image in self._images if (row := _image_row(image, page)) is not None)
            if page:
                self._done.append(SitemapEntry(page, local == "sitemap", rows))
            self._page, self._images = {}, []


def _image_row(image: dict[str, str], page: str) -> SourceRow | None:
    address = absolute(page, image.get("loc", "")) if page else ""
    if not address:
        return None
    license = absolute(page, image.get("license", ""))
    title = squeeze(image.get("title", ""))[:TEXT_LENGTH]
    text = squeeze(image.get("caption", ""))[:TEXT_LENGTH] or title
    extra = {"title": title, "found_in": "sitemap"} if title else {"found_in": "sitemap"}
    return SourceRow(address, text=text, page_url=page, license=license, extra=extra)


def _after_prologue(text: str) -> int:
    match = _PROLOGUE.match(text)
    return match.end() if match else 0


def _is_url_list(text: str, whole: bool) -> bool:
    lines = text.strip().splitlines()
    if not whole:
        lines = lines[:-1]
    return bool(lines) and all(not line.strip() or _URL_LINE.fullmatch(line.strip()) for line in lines)


def _unpacked(data: bytes, at_most: int) -> bytes:
    """Returns the first `at_most` bytes of what a gzip file holds; of a broken one, what could be unpacked."""
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data, at_most)
    except zlib.error:
        return b""
