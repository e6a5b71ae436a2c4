"""Caption files beside an image: "a.txt", "a.caption" or "a.json" beside "a.jpg"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from x2i.crawl.sources.pages.encoding import decode_text

SIDECAR_SUFFIXES = (".txt", ".caption", ".json")
"""In the order in which they are asked for the text."""
TEXT_KEYS = ("text", "caption", "alt", "description", "prompt")
LICENSE_KEYS = ("license", "licence")
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Caption:
    """text, license: "" where nothing is said. extra: the other fields of a JSON file."""

    text: str = ""
    license: str = ""
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def with_rest_of(self, other: Caption) -> Caption:
        """Returns this caption with what it lacks taken from `other`."""
        return Caption(self.text or other.text, self.license or other.license, {**other.extra, **self.extra})


def read_caption(path: str) -> Caption:
    """Reads a caption file: UTF-8, UTF-16 with its mark, or else Windows-1252.

    Raises OSError if it cannot be read, and ValueError with what is wrong: more than 1 MiB, or not a JSON object.
    """
    with open(path, "rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes; expected a caption")
    text = decode_text(data)
    if not path.lower().endswith(".json"):
        return Caption(_squeeze(text))
    try:
        document = json.loads(text, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if isinstance(document, str):
        return Caption(_squeeze(document))
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, found {type(document).__name__}")
    extra = {name: value for name, value in document.items() if name not in (*TEXT_KEYS[:3], *LICENSE_KEYS)}
    return Caption(_first_text(document, TEXT_KEYS), _first_text(document, LICENSE_KEYS), extra)


def _first_text(document: Mapping[str, object], keys: tuple[str, ...]) -> str:
    """Returns the first of `keys` that holds a text, or a list that begins with one."""
    for key in keys:
        value = document.get(key)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            return _squeeze(str(value))
    return ""


def _squeeze(text: str) -> str:
    return " ".join(text.split())
