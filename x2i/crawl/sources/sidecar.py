"""Caption files beside an image: "a.txt", "a.caption", "a.cap" or "a.json" beside "a.jpg"."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from x2i.words import LICENSE_NAMES, CaptionLines, caption_text, decode_words, first_caption, source_of

SIDECAR_SUFFIXES = (".txt", ".caption", ".cap", ".json")
"""In the order in which they are asked for the text."""
MAX_BYTES = 1024 * 1024
SEVERAL_LINES = "caption files have several lines: {} (--caption-lines all, first or one)"
GUESSED = "caption files are not UTF-8 and were read as {}: save them as UTF-8 if that is wrong"
NO_FIELD = "JSON files beside images have no field of captions among {}"
_KEPT_LINES = {
    CaptionLines.ALL: "all are one caption",
    CaptionLines.FIRST: "the first is the caption",
    CaptionLines.ONE: "one of them is the caption",
}


@dataclass(frozen=True)
class Caption:
    """text, license: "" where nothing is said. extra: the other fields of JSON. source: whose words these are."""

    text: str = ""
    license: str = ""
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""

    def with_rest_of(self, other: Caption) -> Caption:
        """Returns this caption with what it lacks taken from `other`."""
        of_text = self if self.text else other
        extra = {**other.extra, **self.extra}
        return Caption(of_text.text, self.license or other.license, extra, of_text.source or self.source)


def caption_of(
    data: bytes, is_json: bool, lines: CaptionLines, name: str, source: str, remarks: Counter[str]
) -> Caption:
    """Returns the words of a caption file of image `name`. remarks: gets what people should know about it.

    Raises ValueError with what is wrong: more than 1 MiB, or JSON that is neither an object nor a text.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes; expected a caption")
    text, guess = decode_words(data)
    if guess:
        remarks[GUESSED.format(guess)] += 1
    if not is_json:
        if len([line for line in text.splitlines() if line.strip()]) > 1:
            remarks[SEVERAL_LINES.format(_KEPT_LINES[lines])] += 1
        return Caption(lines.of(text, name), source=source)
    document = _parsed(text)
    if isinstance(document, str):
        return Caption(document.strip(), source=source)
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, found {type(document).__name__}")
    caption = caption_of_fields(document, source)
    if not caption.text and document:
        remarks[NO_FIELD.format(", ".join(map(str, document))[:200])] += 1
    return caption


def caption_of_fields(fields: Mapping[str, Any], source: str) -> Caption:
    """Returns what the fields of a JSON object or table row say about an image; what is neither caption nor license is
    `extra`.
    """
    name, text = first_caption(fields)
    licenses = {key: caption_text(key, fields[key]) for key in fields if key.lower() in LICENSE_NAMES}
    extra = {key: value for key, value in fields.items() if key != name and key not in licenses}
    return Caption(text, next(filter(None, licenses.values()), ""), extra, source_of(name, source) if text else "")


def read_bytes(path: str) -> bytes:
    """Returns the content of a caption file, of a longer one what shows that it is too long. Raises OSError."""
    with open(path, "rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
