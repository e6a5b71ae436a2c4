"""Tables that say something about the image files beside them, such as Hugging Face's metadata.jsonl."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from x2i.importers.table_files import read_groups, read_schema
from x2i.words import decode_words

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
BESIDE_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")


def metadata_rows(file: Path) -> Iterator[dict[str, Any] | None]:
    """Yields the rows of a table beside images; None for a line that is no JSON object.

    Raises OSError, and UserError for a damaged Parquet file. Columns of Parquet that hold bytes are left out.
    """
    if file.suffix.lower() == ".parquet":
        schema = read_schema(file)
        names = [field.name for field in schema if not (pa.types.is_binary(field.type) or _holds_bytes(field.type))]
        for table in read_groups(file, names):
            yield from table.to_pylist()
        return
    text, _ = decode_words(file.read_bytes())
    if file.suffix.lower() in (".csv", ".tsv"):
        head = text.partition("\n")[0]
        mark = "\t" if file.suffix.lower() == ".tsv" else next((m for m in ",;\t|" if m in head), ",")
        yield from csv.DictReader(io.StringIO(text, newline=""), delimiter=mark)
    else:
        yield from (_object(line) for line in text.split("\n") if line.strip())


def _holds_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_large_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _object(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
