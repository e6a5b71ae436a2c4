"""Tables that say something about the image files beside them, such as Hugging Face's metadata.jsonl."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from x2i.errors import UserError
from x2i.importers.table_files import read_groups, read_schema
from x2i.words import FILE_NAMES, IMAGE_SUFFIXES, decode_words

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
BESIDE_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
WEAK_SUFFIXES = (".json", ".txt")
"""Files that are tables if what they hold looks like one: more often they are captions."""
_CAPTION_NUMBER = re.compile(r"#\d+$")
GUESSED = "tables beside the images are not UTF-8 and were read as {}: save them as UTF-8 if that is wrong"


def metadata_rows(file: Path, remarks: Counter[str]) -> Iterator[dict[str, Any] | None]:
    """Yields the rows of a table beside images; None for a line that is no JSON object, or no whole row.

    Columns of Parquet that hold bytes are left out. remarks: gets what people should know. Raises OSError, and
    UserError for a damaged Parquet file or a column that stands there twice.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        schema = read_schema(file)
        names = [field.name for field in schema if not (pa.types.is_binary(field.type) or _holds_bytes(field.type))]
        for table in read_groups(file, names):
            yield from table.to_pylist()
        return
    text, guess = decode_words(file.read_bytes())
    if guess:
        remarks[GUESSED.format(guess)] += 1
    if suffix in (".csv", ".tsv", ".txt"):
        yield from _delimited(file, text, "\t" if suffix == ".tsv" else "")
    elif suffix == ".json":
        yield from _document_rows(text)
    else:
        yield from (_object(line) for line in text.split("\n") if line.strip())


def _delimited(file: Path, text: str, mark: str) -> Iterator[dict[str, Any] | None]:
    """Yields the rows under a header, or all of a table without one.

    A row with more cells than the first, or with a quote inside a cell, is None.
    """
    head = text.lstrip().partition("\n")[0]
    mark = mark or next((one for one in "\t,;|" if one in head), ",")
    is_spaced = f"{mark} " in head
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True, skipinitialspace=is_spaced)
    header: list[str] = []
    while True:
        try:
            cells = next(reader, None)
        except csv.Error:
            yield None
            continue
        if cells is None:
            return
        if not header:
            header = [name.strip() for name in cells]
            if names := _names_without_header(header):
                header = names
                yield _row(header, cells)
            if twice := [name for name, count in Counter(header).items() if count > 1]:
                raise UserError(f"{file}: column {twice[0]!r} stands there twice: rename one of the two")
        elif cells:
            yield None if any(cells[len(header) :]) else _row(header, cells)


def _names_without_header(cells: list[str]) -> list[str]:
    """Returns names for the columns of a table whose first row names an image file and no columns, else none.

    The longest cell beside the name is taken for the caption.
    """
    file = next((place for place, cell in enumerate(cells) if _is_image_file(cell)), None)
    if file is None:
        return []
    words = max(
        (place for place in range(len(cells)) if place != file), key=lambda place: len(cells[place]), default=-1
    )
    known = {file: FILE_NAMES[0], words: "caption"}
    return [known.get(place, f"column {place}") for place in range(len(cells))]


def _row(header: list[str], cells: list[str]) -> dict[str, Any]:
    """Returns a row. A file is named without the number of its caption, as Flickr's lists write it (`cat.jpg#0`)."""
    return {
        name: _CAPTION_NUMBER.sub("", cell) if _is_image_file(cell) else cell
        for name, cell in zip(header, cells, strict=False)
    }


def _is_image_file(cell: str) -> bool:
    return _CAPTION_NUMBER.sub("", cell.strip()).lower().endswith(IMAGE_SUFFIXES) and "://" not in cell


def _document_rows(text: str) -> Iterator[dict[str, Any] | None]:
    """Yields the rows of a JSON document: a list of objects, {file: caption or object}, or COCO's images with captions.

    A document of another shape has no rows.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        yield None
        return
    if isinstance(document, Mapping) and len(lists := [v for v in document.values() if isinstance(v, list)]) == 1:
        document = lists[0]  # {"data": [...]}
    if isinstance(document, list):
        yield from (item for item in document if isinstance(item, dict))
    elif isinstance(document, Mapping) and "annotations" in document:
        images, notes, licenses = (_by_id(document.get(name)) for name in ("images", "annotations", "licenses"))
        for note in notes.values():
            image = images.get(note.get("image_id"), {})
            license = licenses.get(image.get("license"), {})
            yield {**note, **image, "license": license.get("url") or license.get("name") or ""}
    elif isinstance(document, Mapping):
        for name, said in document.items():
            yield {**(said if isinstance(said, Mapping) else {"caption": said}), FILE_NAMES[0]: name}


def _by_id(items: object) -> dict[Any, dict[str, Any]]:
    return {
        one.get("id", n): one for n, one in enumerate(items if isinstance(items, list) else []) if isinstance(one, dict)
    }


def _holds_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_large_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _object(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
