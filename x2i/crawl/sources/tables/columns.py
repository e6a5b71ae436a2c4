"""Which columns of a table hold URL, caption and license, and how their cells become text."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import TableOptions
from x2i.errors import UserError
from x2i.sample import canonical_json
from x2i.words import (
    FILE_NAMES,
    LICENSE_NAMES,
    bare_name,
    caption_fields,
    caption_text,
    caption_texts,
    column_named,
    source_of,
)

URL_NAMES = ("url", "image_url", "img_url", "image", "link", "src")
NO_CAPTIONS = "tables have no column of captions among {} (--text-col names one)"
LISTS = "captions are the first of a list in {!r}"
OTHER_CAPTIONS = "tables have their captions taken from {!r}; not from {} (--text-col and --keep-col choose)"


@dataclass(frozen=True)
class ColumnMapping:
    """The columns of one table, resolved to names that it has; "" where it has none."""

    url: str
    text: str
    license: str
    keep: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The columns to read, each once."""
        return list(dict.fromkeys(name for name in (self.url, self.text, self.license, *self.keep) if name))

    @classmethod
    def resolve(
        cls, file: str, found: Sequence[str], columns: TableOptions, notes: PlanningNotes, images: Sequence[str] = ()
    ) -> ColumnMapping:
        """Returns the columns to read; which hold captions is noted. images: the columns that hold encoded images.

        Raises UserError, naming the file and its columns, if one that is needed is missing or stands there twice."""
        named = [_named(file, "--url-col", columns.url_col, found), _named(file, "--text-col", columns.text_col, found)]
        keep = tuple(_named(file, "--keep-col", name, found) for name in columns.keep_col)
        url = named[0] or _first(URL_NAMES, found)
        if images and (not url or url in images):
            raise UserError(
                f"{file}: column {images[0]!r} holds the bytes of images, not their URLs: run `x2i import hf-images "
                f"{file} --out DATASET`, which reads them with their captions"
            )
        if not url:
            raise UserError(f"{file}: no column of URLs among {_listed(found)}: {_hint(found)}")
        captions = [name for name in caption_fields(found) if name != url and name not in images]
        text = named[1] or next(iter(captions), "")
        mapping = cls(url, text, _first(LICENSE_NAMES, found), keep)
        if others := [name for name in captions if name not in (text, *keep)]:
            notes.remarks[OTHER_CAPTIONS.format(text, ", ".join(map(repr, others)))] += 1
        elif not text and len(found) > 1:
            notes.remarks[NO_CAPTIONS.format(_listed(found))] += 1
        twice = [name for name, count in Counter(found).items() if count > 1 and name in mapping.names]
        if twice:
            raise UserError(f"{file}: column {twice[0]!r} stands there twice: rename one of the two")
        return mapping

    @property
    def text_source(self) -> str:
        """Whose words the captions are."""
        return source_of(self.text, "table")

    @property
    def is_label(self) -> bool:
        """Whether a number in the column of captions is none."""
        return caption_text(self.text, "0") == ""

    def text_sources(self, texts: pa.Array) -> pa.Array:
        """Returns the `text_source` of each caption."""
        return pc.if_else(pc.equal(texts, ""), "", self.text_source)

    def caption(self, value: object, notes: PlanningNotes) -> str:
        """Returns the caption in a cell; that it is one of several is noted."""
        texts = caption_texts(self.text, value)
        notes.remarks[LISTS.format(self.text)] += len(texts) > 1
        return next(iter(texts), "")

    def extra(self, values: Mapping[str, Any]) -> str:
        """Returns the kept columns of one row as JSON; a cell that is missing is null."""
        return canonical_json({name: json_value(values.get(name)) for name in self.keep}) if self.keep else "{}"


def cell_text(value: object) -> str:
    """Returns a cell as text. Some writers leave strings as bytes, a missing one as NaN, or several in a list."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, list | tuple):
        return next((text for text in map(cell_text, value) if text), "")
    return "" if value is None or value != value else str(value).strip()


def json_value(value: Any) -> object:
    """Returns `value` as JSON can hold it: what it cannot (dates, bytes, NaN) as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): json_value(item) for name, item in value.items()}
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _named(file: str, option: str, name: str | None, found: Sequence[str]) -> str:
    """Returns the column that an option names, "" if it names none. Raises UserError if there is no such column."""
    if not name:
        return ""
    column = column_named(name, found)
    if column is None:
        near = difflib.get_close_matches(name, found, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"{file}: {option} {name!r}: no such column; found {_listed(found)}{hint}")
    return column


def _first(usual: Sequence[str], found: Sequence[str]) -> str:
    by_name = {bare_name(name): name for name in reversed(found)}
    return next((by_name[name] for name in usual if name in by_name), "")


def _hint(found: Sequence[str]) -> str:
    if any("://" in name for name in found):
        return "the first line must name the columns: add one such as url,text (a bare list of URLs is a .txt file)"
    if files := _first([name for name in FILE_NAMES if "file" in name or "path" in name], found):
        return f"name it with --url-col; if {files!r} names files of this machine, crawl the folder of the table"
    return "name it with --url-col"


def _listed(found: Sequence[str]) -> str:
    text = ", ".join(found)
    return text if len(text) <= 500 else f"{text[:500]}..."
