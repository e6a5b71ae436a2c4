"""One image that a source names: where it is and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class SourceRow:
    """url: http(s), or file:// with `local` set, which only the user's own folders and saved pages may do.
    text: the alt text or the caption column. context: text near the image on its page. licence: as the source has it.
    extra: what else the source says, as JSON values: "title" and "figcaption" of pages, kept columns of tables.
    name: the stable name of a local image: its path from the folder's own name on, such as "photos/cats/1.jpg".
    """

    url: str
    text: str = ""
    page_url: str = ""
    context: str = ""
    licence: str = ""
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    local: bool = False
    name: str = ""
