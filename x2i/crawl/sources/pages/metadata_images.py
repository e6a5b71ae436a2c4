"""Images in the metadata of a page: Open Graph, Twitter cards, image_src, JSON-LD."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from x2i.crawl.sources.pages.addresses import absolute
from x2i.crawl.sources.pages.surrounding_text import squeeze
from x2i.crawl.sources.row import SourceRow

TEXT_LENGTH = 2000
"""Characters kept of one text of a page."""
_PICTURES = {
    "og:image": "og:image",
    "og:image:url": "og:image",
    "og:image:secure_url": "og:image",
    "twitter:image": "twitter:image",
    "twitter:image:src": "twitter:image",
}
_OF_OTHERS = frozenset({"logo", "publisher", "author", "creator", "contributor", "isPartOf", "mainEntityOfPage"})
"""Properties whose pictures are of someone, not of what the page shows."""
_MAX_SCRIPT, _MAX_NODES = 1_000_000, 10_000


def metadata_images(tree: LexborHTMLParser, base: str, page_url: str) -> Iterator[SourceRow]:
    """Yields the pictures that the head of a page names. Their `extra` says where: "found_in"."""
    metas = [node.attributes for node in tree.css("meta[content]")]
    pairs = [(squeeze(m.get("property") or m.get("name") or "").lower(), m.get("content") or "") for m in metas]
    yield from meta_images(pairs, base, page_url)
    for node in tree.css("link[rel~='image_src' i][href]"):
        address = absolute(base, node.attributes.get("href") or "")
        if address:
            yield _row(address, _title(pairs), page_url, "image_src")
    for node in tree.css("script[type='application/ld+json' i]"):
        yield from _linked_data_images(node.text() or "", base, page_url)


def meta_images(pairs: Sequence[tuple[str, str]], base: str, page_url: str) -> Iterator[SourceRow]:
    """Yields the og:image and twitter:image among the metas (name or property, content) of a page, in their order.

    An `:alt` belongs to the picture before it (ogp.me, "Structured").
    """
    for index, (name, content) in enumerate(pairs):
        kind = _PICTURES.get(name)
        address = absolute(base, content) if kind and content.strip() else ""
        if not kind or not address:
            continue
        yield _row(address, _alt_after(pairs, index, kind) or _title(pairs), page_url, kind)


def _alt_after(pairs: Sequence[tuple[str, str]], index: int, kind: str) -> str:
    for name, content in pairs[index + 1 : index + 12]:
        if name == f"{kind}:alt":
            return content
        if name in ("og:image", "twitter:image"):
            break
    return ""


def _title(pairs: Sequence[tuple[str, str]]) -> str:
    named = dict(reversed(pairs))
    names = ("og:title", "twitter:title", "og:description", "description")
    return next((named[name] for name in names if named.get(name)), "")


def _linked_data_images(text: str, base: str, page_url: str) -> Iterator[SourceRow]:
    """Yields each ImageObject (schema.org) of a JSON-LD script, and the plain addresses under "image"."""
    if len(text) > _MAX_SCRIPT:
        return
    try:
        waiting: list[tuple[Any, str]] = [(json.loads(text), "")]
    except (ValueError, RecursionError):
        return
    for _ in range(_MAX_NODES):
        if not waiting:
            return
        value, subject = waiting.pop()
        if isinstance(value, list):
            waiting += [(item, subject) for item in reversed(value)]
        elif isinstance(value, str) and subject:
            if address := absolute(base, value):
                yield _row(address, subject, page_url, "json-ld")
        elif isinstance(value, dict) and _is_image_object(value):
            if address := absolute(base, _text(value, "contentUrl", "url")):
                yield _image_object(value, address, base, page_url)
        elif isinstance(value, dict):
            own = _text(value, "name", "headline") or " "
            inner = [(v, own if key == "image" else "") for key, v in value.items() if key not in _OF_OTHERS]
            waiting += reversed(inner)


def _is_image_object(value: dict[str, Any]) -> bool:
    kinds = value.get("@type")
    return "ImageObject" in (kinds if isinstance(kinds, list) else [kinds])


def _image_object(value: dict[str, Any], address: str, base: str, page_url: str) -> SourceRow:
    license = value.get("license")
    link = _text(license, "url", "@id") if isinstance(license, dict) else _text(value, "license")
    credit = _text(value, "creditText", "copyrightNotice")
    row = _row(address, _text(value, "caption", "description", "name"), page_url, "json-ld", absolute(base, link))
    return row if not credit else SourceRow(**{**vars(row), "extra": {**row.extra, "credit": credit}})


def _text(value: dict[str, Any], *names: str) -> str:
    return next((squeeze(found) for name in names if isinstance(found := value.get(name), str) and found.strip()), "")


def _row(address: str, text: str, page_url: str, found_in: str, license: str = "") -> SourceRow:
    text = squeeze(text)[:TEXT_LENGTH]
    return SourceRow(address, text=text, page_url=page_url, license=license, extra={"found_in": found_in})
