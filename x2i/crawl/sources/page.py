"""One HTML page as bytes: its images with what the page says about them, and its links. Pure; nothing is fetched."""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

from x2i.crawl.optout import meta_nofollow, meta_opt_out
from x2i.crawl.sources.row import SourceRow
from x2i.crawl.sources.srcset import Candidate, largest, parse_srcset

CONTEXT_LENGTH = 500
ENOUGH_CONTEXT = 40
_CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]+)""", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_UNREADABLE_TYPES = ("image/svg+xml", "image/jxl", "image/heic", "image/heif")
_NOT_OF_THE_WEB = (
    "undefined",
    "unicode-escape",
    "raw-unicode-escape",
    "unicode_escape",
    "raw_unicode_escape",
    "idna",
    "punycode",
    "utf-7",
)
"""Codecs of Python that no browser knows by these labels."""
_LAZY_SRC = ("data-src", "data-original", "data-lazy-src")
_LAZY_SRCSET = ("data-srcset", "data-lazy-srcset")
_LICENCE_LINKS = "a[rel~=license], link[rel~=license], area[rel~=license]"
_FIGURE_LEVELS, _PICTURE_LEVELS, _CONTEXT_LEVELS, _SIBLINGS = 12, 3, 3, 4
_NODES, _SOURCES = 100, 32
"""How far is looked around one image, so that a page of many images costs no more than in proportion to its size."""

_Figures = dict[int, tuple[str, str]]
"""What the figures of one page say of their images, by node."""


@dataclass(frozen=True)
class Page:
    """images: in document order, each URL once. links: absolute, without fragments. opt_out: the signal, or ""."""

    images: tuple[SourceRow, ...]
    links: tuple[str, ...]
    opt_out: str


def parse_page(data: bytes, url: str, charset: str | None = None, agent: str = "x2i") -> Page:
    """Reads a page as a browser would: any encoding, broken markup, `<base>`, srcset, `<picture>`, lazy loading.

    url: where the page came from; charset: as its Content-Type says. An opted-out page keeps its signal and no images.
    """
    tree = LexborHTMLParser(decode_html(data, charset))
    metas = [(node.attributes.get("name") or "", node.attributes.get("content") or "") for node in tree.css("meta")]
    links = () if meta_nofollow(metas, agent) else tuple(_links(tree, _base_url(tree, url)))
    opt_out = meta_opt_out(metas, agent)
    if opt_out:
        return Page((), links, opt_out)
    base = _base_url(tree, url)
    licence = _page_licence(tree, base)
    for node in tree.css("script, style, template"):
        node.decompose()
    images: dict[str, SourceRow] = {}
    figures: _Figures = {}
    for node in tree.css("img"):
        row = _image_row(node, base, url, licence, figures)
        if row is not None:
            images.setdefault(row.url, row)
    return Page(tuple(images.values()), links, "")


def decode_html(data: bytes, charset: str | None = None) -> str:
    """Returns the text of a page: by byte order mark, HTTP charset, <meta charset>, then UTF-8 or else Windows-1252."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, errors="replace")
    declared = _CHARSET.search(data[:4096])
    for label in (charset, declared[1].decode("ascii") if declared else None):
        codec = _codec(label)
        if codec:
            return data.decode(codec, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _codec(label: str | None) -> str | None:
    """Returns the Python codec of a web encoding label; Latin-1 and ASCII mean Windows-1252 on the web."""
    if not label:
        return None
    try:
        info = codecs.lookup(label.strip())
    except (LookupError, ValueError):
        return None
    if not getattr(info, "_is_text_encoding", True):
        return None
    if info.name in _NOT_OF_THE_WEB:
        return None
    if info.name.startswith("utf-16"):
        return "utf-8"
    return "cp1252" if info.name in ("iso8859-1", "ascii") else info.name


def _image_row(node: LexborNode, base: str, page_url: str, page_licence: str, figures: _Figures) -> SourceRow | None:
    address = _best_address(node)
    url = _absolute(base, address) if address else ""
    if not url:
        return None
    figure = _ancestor(node, "figure", _FIGURE_LEVELS)
    own_licence, caption = _figure_words(figure, base, figures) if figure is not None else ("", "")
    extra = {"title": _squeeze(node.attributes.get("title") or ""), "figcaption": caption}
    return SourceRow(
        url=url,
        text=_squeeze(node.attributes.get("alt") or ""),
        page_url=page_url,
        context=_context(figure if figure is not None else node),
        licence=own_licence or page_licence,
        extra={name: value for name, value in extra.items() if value},
    )


def _figure_words(figure: LexborNode, base: str, figures: _Figures) -> tuple[str, str]:
    """Returns the licence and the caption of a figure, "" for what it has not; read once however many images it has."""
    known = figures.get(figure.mem_id)
    if known is None:
        known = _licence(figure, base), _caption_text(figure.css_first("figcaption"))
        figures[figure.mem_id] = known
    return known


def _best_address(node: LexborNode) -> str | None:
    """Returns the largest file that an <img>, or the <picture> around it, offers."""
    candidates: list[Candidate] = []
    picture = _ancestor(node, "picture", _PICTURE_LEVELS)
    for source in picture.css("source")[:_SOURCES] if picture is not None else []:
        if (source.attributes.get("type") or "").lower() not in _UNREADABLE_TYPES:
            candidates += _srcset(source)
    candidates += _srcset(node)
    plain = next((node.attributes.get(name) for name in (*_LAZY_SRC, "src") if _is_real(node.attributes.get(name))), "")
    if plain:
        candidates.append(Candidate(plain.strip(), None, 1.0))
    return largest(candidates)


def _srcset(node: LexborNode) -> list[Candidate]:
    names = ("srcset", *_LAZY_SRCSET)
    found = [c for name in names for c in parse_srcset(node.attributes.get(name) or "")]
    return [candidate for candidate in found if _is_real(candidate.url)]


def _is_real(address: str | None) -> bool:
    return bool(address and address.strip()) and not str(address).strip().lower().startswith(
        ("data:", "blob:", "about:")
    )


def _context(node: LexborNode) -> str:
    """Returns the text around `node`: of an enclosing element up to three levels above, else just before and after."""
    text = ""
    parent = node.parent
    for _ in range(_CONTEXT_LEVELS):
        if parent is None or parent.tag in ("body", "html"):
            break
        text = _near_text(parent)
        if len(text) >= ENOUGH_CONTEXT:
            return text[:CONTEXT_LENGTH]
        node, parent = parent, parent.parent
    around = f"{_sibling_text(node, 'prev')} {text} {_sibling_text(node, 'next')}"
    return _squeeze(around)[:CONTEXT_LENGTH]


def _sibling_text(node: LexborNode, direction: str) -> str:
    """Returns the nearest text beside `node`, looking past what holds none."""
    sibling: LexborNode | None = getattr(node, direction)
    for _ in range(_SIBLINGS):
        if sibling is None or sibling.css_first("img") is not None:
            break
        text = _near_text(sibling)
        if text:
            return text
        sibling = getattr(sibling, direction)
    return ""


def _licence(node: LexborNode, base: str) -> str:
    """Returns the address of the first rel="license" link in `node`, or ""."""
    return next((address for one in node.css(_LICENCE_LINKS) if (address := _address(one, base))), "")


def _page_licence(tree: LexborHTMLParser, base: str) -> str:
    """Returns the licence of the page as a whole: a link inside a figure speaks for that figure alone."""
    links = [one for one in tree.css(_LICENCE_LINKS) if _ancestor(one, "figure", _FIGURE_LEVELS) is None]
    return next((address for one in links if (address := _address(one, base))), "")


def _address(link: LexborNode, base: str) -> str:
    return _absolute(base, link.attributes.get("href") or "") if link.attributes.get("href") else ""


def _caption_text(caption: LexborNode | None) -> str:
    """Returns a caption's words without those of its licence link."""
    if caption is None:
        return ""
    copy = LexborHTMLParser(caption.html or "")
    for link in copy.css(_LICENCE_LINKS):
        link.decompose()
    return _text(copy.body) if copy.body is not None else ""


def _links(tree: LexborHTMLParser, base: str) -> Iterator[str]:
    seen = set()
    for node in tree.css("a[href]"):
        url = _absolute(base, node.attributes.get("href") or "")
        if url.startswith("http") and url not in seen and "nofollow" not in (node.attributes.get("rel") or "").lower():
            seen.add(url)
            yield url


def _base_url(tree: LexborHTMLParser, url: str) -> str:
    node = tree.css_first("base[href]")
    return _absolute(url, node.attributes.get("href") or "") or url if node is not None else url


def _absolute(base: str, address: str) -> str:
    """Returns `address` resolved against `base` without its fragment; "" for what no crawl reads."""
    try:
        url = urldefrag(urljoin(base, re.sub(r"[\t\n\r]", "", address.strip()).replace(" ", "%20"))).url
        allowed = ("http", "https", "file") if base.startswith("file:") else ("http", "https")
        return url if urlsplit(url).scheme in allowed else ""
    except ValueError:
        return ""


def _ancestor(node: LexborNode, tag: str, levels: int) -> LexborNode | None:
    parent = node.parent
    for _ in range(levels):
        if parent is None or parent.tag == tag:
            return parent
        parent = parent.parent
    return None


def _text(node: LexborNode) -> str:
    return _squeeze(node.text(separator=" "))


def _near_text(node: LexborNode) -> str:
    """Returns the text that `node` begins with: more than a context holds is not read, however large the page."""
    pieces, length = [], 0
    for inner in itertools.islice(node.traverse(include_text=True), _NODES):
        piece = _squeeze(inner.text_content or "") if inner.tag == "-text" else ""
        if piece:
            pieces.append(piece)
            length += len(piece) + 1
        if length > CONTEXT_LENGTH:
            break
    return " ".join(pieces)


def _squeeze(text: str) -> str:
    return " ".join(text.split())
