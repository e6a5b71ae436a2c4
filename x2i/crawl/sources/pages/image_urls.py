"""The image URLs in one element of a page, and which of them is the largest."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborNode

from x2i.crawl.sources.pages.srcset import Candidate, largest, parse_srcset

ELEMENTS = "img, amp-img, amp-anim, video[poster], object[data], embed[src], svg image, [style*='url(' i]"
"""Everything that shows a picture, as a CSS selector; CSS files and scripts are not read, buttons are no pictures."""
READABLE_TYPES = ("jpeg", "jpg", "pjpeg", "jfif", "png", "x-png", "apng", "webp", "gif", "bmp", "tiff", "avif")
_SRC = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-echo", "data-hi-res-src", "src")
"""Where lazy loading puts the address of a picture, before the attribute that holds a placeholder."""
_SRCSET = ("srcset", "data-srcset", "data-lazy-srcset", "data-original-set")
_BACKGROUND = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^)"'\s]*))\s*\)""", re.IGNORECASE)
_PICTURE_LEVELS, _PICTURE_NODES = 3, 100
_NO_FILE = re.compile(r"\s*(?:data|blob|about|javascript|mailto):|\s*#", re.IGNORECASE)
_TEMPLATE = re.compile(r"\{\{|\$\{|<%|\{(?:width|height|size|src|url|w|h)\}", re.IGNORECASE)
"""An address that a script would have completed."""

Attributes = dict[str, str | None]
_Offers = dict[int, list[Candidate]]


class ImageUrls:
    """Finds the best file of each element of one page; caches the sources of a <picture>, since images may share it."""

    def __init__(self) -> None:
        self._pictures: _Offers = {}

    def best(self, node: LexborNode, attributes: Attributes) -> tuple[str, str]:
        """Returns the address of the largest file that `node` offers, "" if none, and where on the page that stands.

        The second is "" for an image itself, else "poster", "object", "svg image" or "background".
        """
        tag = node.tag
        if tag in ("img", "amp-img", "amp-anim"):
            if found := self._best_of_image(node, attributes):
                return found, ""
        elif tag == "video":
            return _file(attributes.get("poster")), "poster"
        elif tag in ("object", "embed"):
            kind = (attributes.get("type") or "").lower()
            if _is_readable(kind) and kind:
                return _file(attributes.get("data" if tag == "object" else "src")), "object"
        elif tag == "image":
            return _file(attributes.get("href") or attributes.get("xlink:href")), "svg image"
        return _background(attributes.get("style") or ""), "background"

    def _best_of_image(self, node: LexborNode, attributes: Attributes) -> str:
        candidates = [*self._picture_of(node), *_srcset(attributes)]
        plain = next((found for name in _SRC if (found := _file(attributes.get(name)))), "")
        if plain:
            candidates.append(Candidate(plain, None, 1.0))
        return largest(candidates) or ""

    def _picture_of(self, node: LexborNode) -> list[Candidate]:
        """Returns what the sources of the <picture> around an <img> offer."""
        picture = ancestor(node, "picture", _PICTURE_LEVELS)
        if picture is None:
            return []
        known = self._pictures.get(picture.mem_id)
        if known is None:
            known = self._pictures[picture.mem_id] = _sources(picture)
        return known


def ancestor(node: LexborNode, tag: str, levels: int) -> LexborNode | None:
    """Returns the nearest element `tag` around `node`, at most `levels` above it."""
    parent = node.parent
    for _ in range(levels):
        if parent is None or parent.tag == tag:
            return parent
        parent = parent.parent
    return None


def _sources(picture: LexborNode) -> list[Candidate]:
    found: list[Candidate] = []
    for inner, _ in zip(picture.traverse(), range(_PICTURE_NODES)):
        if inner.tag == "source":
            attributes = inner.attributes
            if _is_readable((attributes.get("type") or "").lower()):
                found += _srcset(attributes)
    return found


def _srcset(attributes: Attributes) -> list[Candidate]:
    texts = [attributes.get(name) for name in _SRCSET]
    return [candidate for text in texts if text for candidate in parse_srcset(text) if _file(candidate.url)]


def _background(style: str) -> str:
    return next((found for match in _BACKGROUND.finditer(style) if (found := _file(match[match.lastindex or 0]))), "")


def _is_readable(kind: str) -> bool:
    return not kind or kind.partition(";")[0].strip().removeprefix("image/") in READABLE_TYPES


def _file(address: str | None) -> str:
    """Returns an address without the spaces around it; "" if it names no file."""
    if not address or _NO_FILE.match(address) or _TEMPLATE.search(address):
        return ""
    return address.strip()
