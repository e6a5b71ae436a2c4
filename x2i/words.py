"""The words that people write beside pictures: the fields that hold them, their encoding, and lines to choose from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

from x2i.seeding import stable_hash

LABEL_NAMES = ("label", "labels", "class", "class_name", "category", "tags", "keywords")
"""Names of columns that hold words or numbers of classes: a number is no caption."""
CAPTION_NAMES = (
    *("text", "caption", "captions", "prompt", "prompts", "alt_text", "alttext", "alt", "title", "description"),
    *("sentence", "sentences", "instruction", "long_caption", "short_caption", "caption_text", "raw", *LABEL_NAMES),
)
"""Usual names of fields with captions, in any case, the most usual first."""
LICENSE_NAMES = ("license", "licence", "license_url", "rights")
FILE_NAMES = (
    *("file_name", "filename", "file", "path", "filepath", "file_path", "image_path", "image_file", "image_name"),
    *("image_id", "image", "img", "picture", "photo", "name", "id"),
)
"""Usual names of columns that name image files, the most usual first."""
WEB_TEXT = "alt"
"""The `text_source` of words that a web page has about an image. All other words were written for their image."""
_ALT_NAMES = ("alt_text", "alttext", "alt")
_LIKE_A_CAPTION = re.compile(r"(?!negative)(?:[a-z0-9]+_)*(?:caption|prompt|description|text)s?(?:_[a-z]{2})?")
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


class CaptionLines(StrEnum):
    """Which lines of a caption file count. one: of several lines, one by the hash of the image's name."""

    ALL = "all"
    FIRST = "first"
    ONE = "one"

    def of(self, text: str, name: str) -> str:
        """Returns the chosen part of a caption file's text, without space around it. name: of the image."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if self is CaptionLines.ALL or len(lines) < 2:
            return text.strip()
        return lines[0 if self is CaptionLines.FIRST else stable_hash("caption line", name) % len(lines)]


def caption_fields(found: Sequence[str]) -> list[str]:
    """Returns those of the fields `found` that by their names hold captions, the most usual first."""
    usual = {name: number for number, name in enumerate(CAPTION_NAMES)}
    named = sorted((name for name in found if _bare(name) in usual), key=lambda name: usual[_bare(name)])
    return named + [name for name in found if _bare(name) not in usual and _LIKE_A_CAPTION.fullmatch(_bare(name))]


def caption_text(name: str, value: object) -> str:
    """Returns the caption that field `name` holds, without space around it; of a list the first; "" for none."""
    if isinstance(value, list | tuple):
        return next((text for text in (caption_text(name, item) for item in value) if text), "")
    if isinstance(value, bytes):
        value = decode_words(value)[0]
    if value is None or isinstance(value, bool | Mapping) or value != value:
        return ""
    text = str(value).strip()
    return "" if _bare(name) in LABEL_NAMES and text.lstrip("+-").replace(".", "", 1).isdecimal() else text


def source_of(name: str, source: str) -> str:
    """Returns the `text_source` of words from field `name` of a `source`: what is called alt text is a page's."""
    return WEB_TEXT if _bare(name) in _ALT_NAMES else source


def first_caption(fields: Mapping[str, object]) -> tuple[str, str]:
    """Returns the first caption among the fields of a JSON object and the name of its field; ("", "") if none."""
    for name in caption_fields(list(fields)):
        if text := caption_text(name, fields[name]):
            return name, text
    return "", ""


def decode_words(data: bytes) -> tuple[str, str]:
    """Returns the text of a caption file, and the name of its encoding if that is a guess, else "".

    By byte order mark; UTF-8; UTF-16 without a mark, by its zero bytes; else Windows-1252, which is a guess.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), ""
    if b"\0" in data and len(data) % 2 == 0:
        is_big = data[::2].count(0) > data[1::2].count(0)
        return data.decode("utf-16-be" if is_big else "utf-16-le", "replace"), ""
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), "Windows-1252"


def _bare(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())
