"""Reading tables that are text: .csv .tsv .txt .jsonl .json, as batches of rows."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from x2i.crawl.sources.batch import source_table, strings
from x2i.crawl.sources.options import TableOptions
from x2i.crawl.sources.tables.columns import ColumnMapping, cell_text
from x2i.crawl.sources.tables.lines import BadLines, RecordLines, TextLines
from x2i.errors import UserError
from x2i.words import caption_text

ROWS_AT_ONCE = 32 * 1024
TEXT_AT_ONCE = 32 * 2**20
"""Characters of URLs and texts in one batch, about: rows may be of any length."""
LOOKED_AHEAD = 1000
"""JSON objects need not name the same fields: the columns of such a table are those of its first rows, together."""
LONGEST_ITEM = 64 * 2**20
_JSON_SPACE = " \t\n\r"

Cells = tuple[str, str, str, str, str]
"""url, text, text_source, license and extra of one row."""


def txt_rows(lines: TextLines) -> Iterator[pa.Table]:
    """One URL per line; blank lines and those that begin with # are left out."""
    stripped = (line.strip() for line in lines)
    return _batches((line, "", "", "", "{}") for line in stripped if line and line[0] != "#")


def delimited_rows(lines: TextLines, columns: TableOptions, bad: BadLines, is_csv: bool) -> Iterator[pa.Table]:
    """.csv with any of , ; tab | between its cells, as its header tells, or .tsv, where quotes are characters."""
    return _batches(_delimited(lines, columns, bad, is_csv))


def jsonl_rows(lines: TextLines, columns: TableOptions, bad: BadLines) -> Iterator[pa.Table]:
    """One JSON object per line; blank lines are left out."""
    return _mapped(lines.file, _objects(lines, bad), columns, bad)


def json_rows(text: TextLines, columns: TableOptions, bad: BadLines) -> Iterator[pa.Table]:
    """A JSON list of objects, read piece by piece."""
    return _mapped(text.file, _items(text, bad), columns, bad)


def _batches(rows: Iterable[Cells]) -> Iterator[pa.Table]:
    held: list[Cells] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row[0]) + len(row[1]) + len(row[4])
        if len(held) >= ROWS_AT_ONCE or size >= TEXT_AT_ONCE:
            yield _table(held)
            held, size = [], 0
    if held:
        yield _table(held)


def _table(rows: list[Cells]) -> pa.Table:
    urls, texts, sources, licenses, extras = (strings(column) for column in zip(*rows, strict=True))
    return source_table(urls, text=texts, text_source=sources, license=licenses, extra=extras)


def _delimited(lines: TextLines, columns: TableOptions, bad: BadLines, is_csv: bool) -> Iterator[Cells]:
    records = RecordLines(lines)
    first = next((line for line in records if line.strip()), "")
    if is_csv and first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # what Excel writes
        delimiter = first.strip()[-1]
    else:
        delimiter = _delimiter(first) if is_csv else "\t"
        if first:
            records.give_last_again()
    options: dict[str, Any] = {"strict": True, "skipinitialspace": True} if is_csv else {"quoting": csv.QUOTE_NONE}
    reader = csv.reader(records, delimiter=delimiter, **options)
    header: list[str] | None = None
    mapping = ColumnMapping("", "", "", ())
    while True:
        records.begin_record()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if header is None:
                raise UserError(f"{lines.file}: the header cannot be read: {error}") from error
            hint = ": is a quote left open?" if "field limit" in str(error) or "end of data" in str(error) else ""
            # A quote left open takes the lines after it along, up to another quote: they are records of their own.
            bad.add(lines.file, f"line {records.pass_over_first()}", f"cannot be read: {error}{hint}")
            continue
        if cells is None:
            return
        if header is None:
            header = [name.strip() for name in cells]
            mapping = ColumnMapping.resolve(lines.file, header, columns, bad.notes)
            width, positions = len(header), {name: header.index(name) for name in mapping.names}
            url, text, license = (positions.get(name, width) for name in (mapping.url, mapping.text, mapping.license))
        elif len(cells) > width and any(cells[width:]):
            hint = ": does a cell hold the separator without quotes?" if is_csv else ""
            bad.add(lines.file, f"line {records.number}", f"has {len(cells)} cells, the header {width}{hint}")
        elif cells:
            # one cell more than the header, for the columns that the table does not have
            row = [*cells[:width], *[""] * (width + 1 - min(len(cells), width))]
            extra = "{}"
            if mapping.keep:
                extra = mapping.extra({name: cells[n] for name, n in positions.items() if n < len(cells)})
            caption = mapping.caption(row[text] if is_csv else _unquoted(row[text]), bad.notes)
            yield row[url].strip(), caption, mapping.text_source if caption else "", row[license].strip(), extra


def _unquoted(cell: str) -> str:
    """Returns a cell of a .tsv as it is, but without the quotes in which writers put cells that hold quotes."""
    inner = cell[1:-1]
    is_quoted = cell[:1] == cell[-1:] == '"' and '""' in inner and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell


def _delimiter(header: str) -> str:
    """Returns the separator of a header that no comma divides: ; tab or |; otherwise the comma."""
    if "," in header:
        return ","
    return next((mark for mark in ";\t|" if mark in header), ",")


def _mapped(
    file: str, rows: Iterator[tuple[str, dict[str, Any]]], columns: TableOptions, bad: BadLines
) -> Iterator[pa.Table]:
    first = list(itertools.islice(rows, LOOKED_AHEAD))
    if not first:
        return
    names = list(dict.fromkeys(name for _, row in first for name in row))
    mapping = ColumnMapping.resolve(file, names, columns, bad.notes)
    yield from _batches(_cells(file, itertools.chain(first, rows), mapping, bad))


def _cells(
    file: str, rows: Iterable[tuple[str, Mapping[str, Any]]], mapping: ColumnMapping, bad: BadLines
) -> Iterator[Cells]:
    for where, row in rows:
        url, text = row.get(mapping.url), row.get(mapping.text)
        if isinstance(url, dict | list) or (isinstance(text, dict) and not caption_text(mapping.text, text)):
            wrong = url if isinstance(url, dict | list) else text
            bad.add(file, where, f"holds {_json_kind(wrong)} where text is expected")
            continue
        caption = mapping.caption(text, bad.notes)
        source = mapping.text_source if caption else ""
        yield cell_text(url), caption, source, cell_text(row.get(mapping.license)), mapping.extra(row)


def _objects(lines: TextLines, bad: BadLines) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in lines:
        if not line.strip():
            continue
        where = f"line {lines.number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            if lines.number == 1 and line.lstrip()[:1] == "[":
                raise UserError(f"{lines.file}: begins a JSON list over several lines: name it .json") from error
            bad.add(lines.file, where, f"is not JSON: {error}")
            continue
        if isinstance(value, dict):
            yield where, value
        elif lines.number == 1 and isinstance(value, list):
            raise UserError(f"{lines.file}: is a JSON list, not one object per line: name it .json")
        else:
            bad.add(lines.file, where, f"is not a JSON object but {_json_kind(value)}")


def _items(text: TextLines, bad: BadLines) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the objects of a JSON list. Only the piece that holds the next object is in memory."""
    buffer = _Buffer(text)
    first = buffer.peek()
    if first == "":
        return
    if first != "[":
        hint = ": if each line is an object, name it .jsonl" if first == "{" else ""
        raise UserError(f"{text.file}: expected a JSON list of objects{hint}")
    buffer.skip()
    number = 0
    while (mark := buffer.peek()) != "]":
        number += 1
        where = f"item {number}"
        value = buffer.value(where)
        if isinstance(value, dict):
            yield where, value
        else:
            bad.add(text.file, where, f"is not a JSON object but {_json_kind(value)}")
        mark = buffer.peek()
        if mark not in (",", "]"):
            found = repr(mark) if mark else "the end of the file"
            raise UserError(f"{text.file}: after item {number}: expected , or ] and found {found}: the list is broken")
        if mark == ",":
            buffer.skip()
    buffer.skip()
    if buffer.peek():
        raise UserError(f"{text.file}: more stands after the end of the list")


class _Buffer:
    """A window on a long JSON text."""

    def __init__(self, text: TextLines) -> None:
        self._text = text
        self._held = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Returns the next character that is no space, "" at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at] in _JSON_SPACE:
                self._at += 1
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return ""

    def skip(self) -> None:
        self._at += 1

    def value(self, where: str) -> Any:
        """Returns the next value. Raises UserError if there is none."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._held, self._at)
                # a number or a word at the very end of the window may go on after it
                if end < len(self._held) or isinstance(value, dict | list | str) or not self._more():
                    self._at = end
                    return value
            except (ValueError, RecursionError) as error:
                if isinstance(error, RecursionError) or len(self._held) - self._at > LONGEST_ITEM or not self._more():
                    raise UserError(f"{self._text.file}: {where} is not JSON: {error}") from error

    def _more(self) -> bool:
        """Reads on, at least as much as is held: an item that spans many pieces is not parsed again for each."""
        piece = self._text.read(max(2**20, len(self._held) - self._at))
        self._held = self._held[self._at :] + piece
        self._at = 0
        return bool(piece)


def _json_kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
