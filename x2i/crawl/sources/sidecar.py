"""Caption files beside an image: "a.txt", "a.caption", "a.cap" or "a.json" beside "a.jpg"."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from x2i.words import (
    LICENSE_NAMES,
    CaptionLines,
    caption_fields,
    caption_text,
    caption_texts,
    decode_words,
    first_caption,
    source_of,
)

MAX_BYTES = 1024 * 1024
SEVERAL_LINES = "caption files have several lines: {} (--caption-lines all, first or one)"
GUESSED = "caption files are not UTF-8 and were read as {}: save them as UTF-8 if that is wrong"
NO_FIELD = "JSON files beside images have no field of captions among {}"
BELOW = "captions come from the field {!r} of objects in JSON files"
FIELDS = "captions come from {!r} and not from other fields that hold words: {}"
LISTS = "captions are the first of a list in {!r} (--caption-lines one: one by the image's name)"
PLACES = "captions come from {} and not from other words for their image in {}"
_KEPT_LINES = {
    CaptionLines.ALL: "all are one caption",
    CaptionLines.FIRST: "the first is the caption",
    CaptionLines.ONE: "one of them is the caption",
}


@dataclass(frozen=True)
class Caption:
    """text, license: "" where nothing is said. extra: the other fields of JSON. source: whose words these are.

    place: where they stand, for people: ".txt", "metadata.csv".
    """

    text: str = ""
    license: str = ""
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""
    place: str = ""

    def with_rest_of(self, other: Caption, remarks: Counter[str] | None = None) -> Caption:
        """Returns this caption with what it lacks taken from `other`. remarks: gets a line if their words differ."""
        of_text = self if self.text else other
        if remarks is not None and self.text and other.text and self.text != other.text:
            remarks[PLACES.format(self.place, other.place)] += 1
        extra = {**other.extra, **self.extra}
        source = of_text.source or self.source
        return Caption(of_text.text, self.license or other.license, extra, source, of_text.place)


def caption_of(
    data: bytes, is_json: bool, lines: CaptionLines, name: str, source: str, remarks: Counter[str]
) -> Caption:
    """Returns the words of a caption file of image `name`. remarks: gets what people should know about it.

    Raises ValueError with what is wrong: more than 1 MiB, or JSON that is no object, text or list of texts.
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
    if isinstance(document, str) or (isinstance(document, list) and all(isinstance(one, str) for one in document)):
        document = {"caption": document}
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, found {type(document).__name__}")
    caption = caption_of_fields(document, source, lines, name, remarks)
    if not caption.text and document:
        remarks[NO_FIELD.format(", ".join(map(str, document))[:200])] += 1
    return caption


def caption_of_fields(
    fields: Mapping[str, Any], source: str, lines: CaptionLines, name: str, remarks: Counter[str]
) -> Caption:
    """Returns what the fields of a JSON object or table row say about image `name`; what is neither caption nor license
    is `extra`.

    A field that holds nothing but the file's name is no caption. remarks: gets what people should know.
    """
    words = {key: value for key, value in fields.items() if value != name.rpartition("/")[2]}
    taken, text = first_caption(words)
    licenses = {key: caption_text(key, fields[key]) for key in fields if key.lower() in LICENSE_NAMES}
    extra = {key: value for key, value in fields.items() if key != taken and key not in licenses}
    if text and taken not in fields:
        remarks[BELOW.format(taken)] += 1
    elif text and len(texts := caption_texts(taken, fields[taken])) > 1:
        remarks[LISTS.format(taken)] += 1
        text = lines.choose(texts, name)
    others = [key for key in caption_fields(list(words)) if caption_text(key, words[key]) not in ("", text)]
    if text and (others := [key for key in others if key != taken]):
        remarks[FIELDS.format(taken, ", ".join(map(repr, others)))] += 1
    return Caption(text, next(filter(None, licenses.values()), ""), extra, source_of(taken, source) if text else "")


def read_bytes(path: str) -> bytes:
    """Returns the content of a caption file, of a longer one what shows that it is too long. Raises OSError."""
    with open(path, "rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
