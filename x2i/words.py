"""The words that people write beside pictures: the fields that hold them, their encoding, and lines to choose from."""

from __future__ import annotations

import ast
import functools
import json
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
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif"),
)
"""Endings of image files: a folder in which one of these lies is a folder of images."""
CAPTION_SUFFIXES = (".txt", ".caption", ".cap", ".json")
"""Endings of caption files beside images, in the order in which they are asked for the text."""
LICENSE_NAMES = ("license", "licence", "license_url", "rights")
FILE_NAMES = (
    *("file_name", "filename", "file", "path", "filepath", "file_path", "image_path", "image_file", "image_name"),
    *("image_id", "image", "img", "picture", "photo", "name", "id"),
)
"""Usual names of columns that name image files, the most usual first."""
WEB_TEXT = "alt"
"""The `text_source` of words that a web page has about an image. All other words were written for their image."""
_ALT_NAMES = ("alt_text", "alttext", "alt")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][a-z]{2,4})?")
_DEEPEST = 3
"""Levels of nested JSON objects that are looked into for a caption."""
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
        return self.choose(lines, name)

    def choose(self, texts: Sequence[str], name: str) -> str:
        """Returns one of several captions of image `name`, "" of none: the first, or with `one` one by the hash."""
        if not texts:
            return ""
        return texts[stable_hash("caption line", name) % len(texts) if self is CaptionLines.ONE else 0]


def column_named(name: str, found: Sequence[str]) -> str | None:
    """Returns the column that someone means by `name`: it, or the only one that differs in upper and lower case."""
    if name in found:
        return name
    alike = [column for column in found if column.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None


def caption_fields(found: Sequence[str]) -> list[str]:
    """Returns those of the fields `found` that by their names hold captions, the most usual first."""
    usual = {name: number for number, name in enumerate(CAPTION_NAMES)}
    named = sorted((name for name in found if bare_name(name) in usual), key=lambda name: usual[bare_name(name)])
    return named + [
        name for name in found if bare_name(name) not in usual and _LIKE_A_CAPTION.fullmatch(bare_name(name))
    ]


def caption_text(name: str, value: object) -> str:
    """Returns the caption that field `name` holds, without space around it; of several the first; "" for none."""
    return next(iter(caption_texts(name, value)), "")


def caption_texts(name: str, value: object) -> list[str]:
    """Returns the captions that field `name` holds, without space around them.

    A list holds several, also one that was written as text; an object holds them in a field of its own, or one for each
    language, of which English counts. A number of a class is no caption.
    """
    if isinstance(value, bytes):
        value = decode_words(value)[0]
    if isinstance(value, str):
        value = _written_list(value)
    if isinstance(value, list | tuple):
        return [text for item in value for text in caption_texts(name, item)]
    if isinstance(value, Mapping):
        languages = {str(key).lower(): text for key, text in value.items() if isinstance(text, str) and text.strip()}
        spoken = {key: text for key, text in languages.items() if _LANGUAGE.fullmatch(key)}
        found = first_caption(value)[1] or spoken.get("en") or next(iter(spoken.values()), "")
        return [found.strip()] if found else []
    if value is None or isinstance(value, bool) or value != value:
        return []
    text = str(value).strip()
    is_class = bare_name(name) in LABEL_NAMES and text.lstrip("+-").replace(".", "", 1).isdecimal()
    return [] if is_class or not text else [text]


def source_of(name: str, source: str) -> str:
    """Returns the `text_source` of words from field `name` of a `source`: what is called alt text is a page's."""
    return WEB_TEXT if bare_name(name) in _ALT_NAMES else source


def first_caption(fields: Mapping[str, object], depth: int = 1) -> tuple[str, str]:
    """Returns the first caption among the fields of a JSON object and the name of its field; ("", "") if none.

    What lies in objects below is looked into after the fields themselves: such a name is written "meta.caption".
    """
    for name in caption_fields(list(fields)):
        if text := caption_text(name, fields[name]):
            return name, text
    below = [
        (name, item)
        for name, value in (fields.items() if depth < _DEEPEST else ())
        for item in (value if isinstance(value, list) else [value])
        if isinstance(item, Mapping)
    ]
    found = ((f"{name}.{inner}", text) for name, item in below for inner, text in [first_caption(item, depth + 1)])
    return next((pair for pair in found if pair[1]), ("", ""))


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


def _written_list(text: str) -> object:
    """Returns the list of texts that a cell of a text table holds as JSON or as Python writes it, else the text."""
    bare = text.strip()
    if bare[:2] not in ('["', "['") or bare[-1:] != "]":
        return text
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(bare)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            return found
    return text


@functools.cache
def bare_name(name: str) -> str:
    """Returns the name of a column as names are compared: `File Name` and `file-name` are `file_name`."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())
