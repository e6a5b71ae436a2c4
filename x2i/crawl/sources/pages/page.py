"""One HTML page as bytes: its images with what the page says about them, and its links. Pure; nothing is fetched."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from selectolax.lexbor import LexborHTMLParser, LexborNode

from x2i.crawl.http.optout import meta_nofollow, meta_opt_out
from x2i.crawl.http.rsl import MEDIA_TYPE, RslTerms
from x2i.crawl.sources.pages.addresses import absolute
from x2i.crawl.sources.pages.encoding import decode_html
from x2i.crawl.sources.pages.html_limits import limit_markup
from x2i.crawl.sources.pages.image_urls import ELEMENTS, Attributes, ImageUrls, ancestor
from x2i.crawl.sources.pages.metadata_images import TEXT_LENGTH, metadata_images
from x2i.crawl.sources.pages.surrounding_text import SurroundingText, squeeze, text_of
from x2i.crawl.sources.row import SourceRow

_LICENSE_LINKS = "a[rel~=license], link[rel~=license], area[rel~=license]"
_RSL_LINKS = f'link[rel~=license][type="{MEDIA_TYPE}"][href]'
_RSL_TERMS = f'script[type="{MEDIA_TYPE}"]'
_LINKS = "a[href], area[href], link[rel~=next][href], frame[src], iframe[src]"
_FIGURE_LEVELS, _FIGURE_NODES = 12, 300
_PAGE_NODES = 2_000_000
"""How far figures are searched for their captions: each, and all of a page together."""
_REFRESH = re.compile(r"^[\s\d.]*[;,]?\s*(?:url\s*=\s*)?[\"']?\s*(.*?)[\"']?\s*$", re.IGNORECASE | re.DOTALL)
_XHTML_EMPTY = re.compile(r"<(script|style|title|textarea|iframe|noscript)\b([^<>]*)/>", re.IGNORECASE)


@dataclass(frozen=True)
class Page:
    """images: in document order, each URL once. links: absolute, without fragments. opt_out: the signal, or "".

    refresh: the address that the page sends its visitors on to, or "". licenses: RSL documents that it names.
    """

    images: tuple[SourceRow, ...]
    links: tuple[str, ...]
    opt_out: str
    refresh: str = ""
    licenses: tuple[str, ...] = ()


def parse_page(data: bytes, url: str, charset: str | None = None, agent: str = "x2i") -> Page:
    """Reads a page as a browser would: any encoding, broken markup, `<base>`, srcset, `<picture>`, lazy loading.

    url: where the page came from; charset: as its Content-Type says. An opted-out page keeps its signal and no images.
    A picture named more than once is one row: the first keeps its position, and takes what it lacks from the others.
    """
    tree = LexborHTMLParser(limit_markup(_as_html(decode_html(data, charset))))
    base = _base_url(tree, url)
    metas = [(node.attributes.get("name") or "", node.attributes.get("content") or "") for node in tree.css("meta")]
    refresh = _refresh(tree, base)
    links = () if meta_nofollow(metas, agent) else tuple(_links(tree, base, refresh))
    opt_out = meta_opt_out(metas, agent) or _rsl_opt_out(tree, url)
    if opt_out:
        return Page((), links, opt_out, refresh)
    license = _page_license(tree, base)
    rows = merged(itertools.chain(_Reader(base, url).rows(tree), metadata_images(tree, base, url)))
    images = tuple(row if row.license else replace(row, license=license) for row in rows if row.url != url)
    named = (absolute(base, node.attributes.get("href") or "") for node in tree.css(_RSL_LINKS))
    return Page(images, links, "", refresh, tuple(dict.fromkeys(address for address in named if address)))


def _rsl_opt_out(tree: LexborHTMLParser, url: str) -> str:
    """Returns the signal by which license terms in the page itself refuse training, or ""."""
    terms = (RslTerms.from_xml((node.text() or "").encode()) for node in tree.css(_RSL_TERMS))
    return next((signal for one in terms if (signal := one.opt_out(url))), "")


def merged(rows: Iterable[SourceRow]) -> list[SourceRow]:
    """Returns each URL once, in order of first mention; what the first row does not say is taken from the later."""
    found: dict[str, SourceRow] = {}
    for row in rows:
        first = found.setdefault(row.url, row)
        if first is not row:
            extra = {name: value for name, value in row.extra.items() if name != "found_in"}
            found[row.url] = replace(
                first,
                text=first.text or row.text,
                context=first.context or row.context,
                license=first.license or row.license,
                extra={**extra, **first.extra},
            )
    return list(found.values())


class _Reader:
    """Reads the elements of one page that show pictures; remembers what several of them share."""

    def __init__(self, base: str, url: str) -> None:
        self._base = base
        self._url = url
        self._image_urls = ImageUrls()
        self._surrounding_text = SurroundingText()
        self._figures: dict[int, tuple[str, str]] = {}
        self._nodes_left = _PAGE_NODES

    def rows(self, tree: LexborHTMLParser) -> Iterator[SourceRow]:
        seen: set[int] = set()
        for node in tree.css(ELEMENTS):
            if node.mem_id not in seen:
                seen.add(node.mem_id)
                attributes = node.attributes
                address, found_in = self._image_urls.best(node, attributes)
                url = absolute(self._base, address)
                if url:
                    yield self._row(node, attributes, url, found_in)

    def _row(self, node: LexborNode, attributes: Attributes, url: str, found_in: str) -> SourceRow:
        figure = ancestor(node, "figure", _FIGURE_LEVELS)
        license, caption = self._figure_words(figure) if figure is not None else ("", "")
        words = attributes.get("alt") or attributes.get("aria-label") or ""
        extra = {"title": _short(attributes.get("title") or ""), "figcaption": caption, "found_in": found_in}
        return SourceRow(
            url=url,
            text=_short(words),
            page_url=self._url,
            context=self._surrounding_text.context(figure if figure is not None else node),
            license=license,
            extra={name: value for name, value in extra.items() if value},
        )

    def _figure_words(self, figure: LexborNode) -> tuple[str, str]:
        """Returns the license and the caption of a figure, "" for what it has not; read once for all its images."""
        known = self._figures.get(figure.mem_id)
        if known is None:
            known = self._figures[figure.mem_id] = self._read_figure(figure)
        return known

    def _read_figure(self, figure: LexborNode) -> tuple[str, str]:
        license, caption = "", None
        for inner in itertools.islice(figure.traverse(), max(0, min(_FIGURE_NODES, self._nodes_left))):
            self._nodes_left -= 1
            if inner.tag == "figcaption" and caption is None:
                caption = inner
            elif not license and _is_license_link(inner):
                license = absolute(self._base, inner.attributes.get("href") or "")
        return license, _caption_text(caption) if caption is not None else ""


def _page_license(tree: LexborHTMLParser, base: str) -> str:
    """Returns the license of the page as a whole: a link inside a figure speaks for that figure alone."""
    links = [one for one in tree.css(_LICENSE_LINKS) if ancestor(one, "figure", _FIGURE_LEVELS) is None]
    return next((address for one in links if (address := absolute(base, one.attributes.get("href") or ""))), "")


def _is_license_link(node: LexborNode) -> bool:
    return node.tag in ("a", "link", "area") and "license" in (node.attributes.get("rel") or "").lower().split()


def _caption_text(caption: LexborNode) -> str:
    """Returns a caption's words without those of its license link."""
    pieces = []
    for inner in itertools.islice(caption.traverse(include_text=True), _FIGURE_NODES):
        if inner.tag == "-text":
            link = ancestor(inner, "a", 3)
            if link is None or not _is_license_link(link):
                pieces.append(text_of(inner))
    return _short(" ".join(pieces))


def _links(tree: LexborHTMLParser, base: str, refresh: str) -> Iterator[str]:
    seen = set()
    for node in tree.css(_LINKS):
        attributes = node.attributes
        url = absolute(base, attributes.get("href") or attributes.get("src") or "")
        if url.startswith("http") and url not in seen and "nofollow" not in (attributes.get("rel") or "").lower():
            seen.add(url)
            yield url
    if refresh.startswith("http") and refresh not in seen:
        yield refresh


def _refresh(tree: LexborHTMLParser, base: str) -> str:
    """Returns where a <meta http-equiv=refresh> leads; "" if there is none, or it only loads the page again."""
    node = tree.css_first("meta[http-equiv=refresh i][content]")
    found = _REFRESH.match((node.attributes.get("content") or "")[:TEXT_LENGTH]) if node is not None else None
    return absolute(base, found[1]) if found else ""


def _base_url(tree: LexborHTMLParser, url: str) -> str:
    node = tree.css_first("base[href]")
    return absolute(url, node.attributes.get("href") or "") or url if node is not None else url


def _as_html(markup: str) -> str:
    """Returns XHTML as an HTML parser understands it: there, a <script/> would swallow the rest of the page."""
    if not markup[:200].lstrip().startswith("<?xml"):
        return markup
    return _XHTML_EMPTY.sub(r"<\1\2></\1>", markup)


def _short(text: str) -> str:
    return squeeze(text)[:TEXT_LENGTH]
