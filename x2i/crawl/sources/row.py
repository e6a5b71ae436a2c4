"""One image that a source names: where it is, and its text, license and context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from x2i.crawl.locations import Location

TEXT_FIELDS = ("url", "text", "text_source", "page_url", "context", "license", "extra")
"""What a source says about an image, as text columns; `extra` is JSON."""

UNREADABLE = "unreadable"
"""The `text_source` of an image whose words are there and cannot be read."""


@dataclass(frozen=True)
class SourceRow:
    """url: http(s), or where the user's own files are; lineage, and what is fetched if `location` is None.
    text: the alt text or the caption, verbatim. text_source: whose words these are ("sidecar", "table", "metadata",
    "shard", "alt": a web page's); "" for what its kind of source has (`SourceKind.text_source`).
    context: text near the image on its page. license: as the source has it.
    extra: what else the source says, as JSON values: "title" and "figcaption" of pages, kept columns of tables.
    location: where the bytes lie if nothing has to be fetched; only the user's own folders, pages and archives set it.
    name: the stable name of such an image, such as "photos/cats/1.jpg": its identity, wherever the folder is moved; ""
    where the URL is its identity.
    """

    url: str
    text: str = ""
    page_url: str = ""
    context: str = ""
    license: str = ""
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    location: Location | None = None
    name: str = ""
    text_source: str = ""
