"""Tables of URLs: .csv .tsv .parquet .json .jsonl .txt, the text kinds also as .gz; read row by row."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from x2i.crawl.sources.row import SourceRow
from x2i.errors import UserError

TEXT_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", *(f"{suffix}.gz" for suffix in TEXT_SUFFIXES))
URL_NAMES = ("url", "image_url", "img_url", "image", "link", "src")
TEXT_NAMES = ("text", "caption", "alt", "alt_text", "description")
LICENCE_NAMES = ("licence", "license", "license_url", "rights")
LOOKED_AHEAD = 1000
"""JSON objects need not name the same fields: the columns of such a table are those of its first rows, together."""


@dataclass(frozen=True)
class TableColumns:
    """Which columns to read. None: the first that exists of the usual names, in any case."""

    url: str | None = None
    text: str | None = None
    keep: tuple[str, ...] = ()


def is_table(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def read_table(path: Path, columns: TableColumns = TableColumns()) -> Iterator[SourceRow]:
    """Yields one row per table row, in file order; a row without a URL has url "".

    Raises UserError for a missing column, or a line that is not of the file's kind (with its number).
    """
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if suffix == "parquet":
            yield from _read_parquet(path, columns)
        elif suffix == "txt":
            yield from (SourceRow(url=line) for line in _url_lines(path))
        else:
            readers = {"csv": _csv_rows, "tsv": _tsv_rows, "json": _json_rows}
            yield from _map_rows(path, readers.get(suffix, _jsonl_rows)(path), columns)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as {suffix}: expected UTF-8 text: {error}") from error
    except (OSError, EOFError, zlib.error, RecursionError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as {suffix}: {error}") from error


def _read_parquet(path: Path, columns: TableColumns) -> Iterator[SourceRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            mapping = _Mapping.resolve(path, file.schema_arrow.names, columns)
            for batch in file.iter_batches(batch_size=4096, columns=mapping.names):
                yield from (mapping.row(row) for row in batch.to_pylist())
    except pa.ArrowException as error:
        raise UserError(f"{path}: cannot be read as parquet: {error}") from error


def _map_rows(path: Path, rows: Iterator[dict[str, Any]], columns: TableColumns) -> Iterator[SourceRow]:
    first = list(itertools.islice(rows, LOOKED_AHEAD))
    if not first:
        return
    mapping = _Mapping.resolve(path, list(dict.fromkeys(name for row in first for name in row)), columns)
    for row in itertools.chain(first, rows):
        yield mapping.row(row)


@dataclass(frozen=True)
class _Mapping:
    """The columns of one table, resolved to names that it has; "" where it has none."""

    url: str
    text: str
    licence: str
    keep: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(name for name in (self.url, self.text, self.licence, *self.keep) if name))

    @classmethod
    def resolve(cls, path: Path, found: Sequence[str], columns: TableColumns) -> _Mapping:
        for option, wanted in (("--url-col", columns.url), ("--text-col", columns.text)):
            _require_columns(path, option, [wanted] if wanted else [], found)
        _require_columns(path, "--keep-col", columns.keep, found)
        url = columns.url or _first(URL_NAMES, found)
        if not url:
            hint = "separate the columns by commas" if _is_joined(found) else "name it with --url-col"
            raise UserError(f"{path}: no column of URLs among {', '.join(found)}: {hint}")
        return cls(url, columns.text or _first(TEXT_NAMES, found), _first(LICENCE_NAMES, found), columns.keep)

    def row(self, values: dict[str, Any]) -> SourceRow:
        return SourceRow(
            url=_text(values.get(self.url)),
            text=_text(values.get(self.text)),
            licence=_text(values.get(self.licence)),
            extra={name: _json_value(values.get(name)) for name in self.keep},
        )


def _require_columns(path: Path, option: str, wanted: Iterable[str], found: Sequence[str]) -> None:
    for name in wanted:
        if name not in found:
            near = difflib.get_close_matches(name, found, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"{path}: {option} {name!r}: no such column; found {', '.join(found)}{hint}")


def _first(usual: Sequence[str], found: Sequence[str]) -> str:
    by_lower = {name.lower(): name for name in reversed(found)}
    return next((by_lower[name] for name in usual if name in by_lower), "")


def _is_joined(found: Sequence[str]) -> bool:
    """Whether a header that was not split looks as if another separator stood in it."""
    return len(found) == 1 and any(separator in found[0] for separator in ";\t|")


def _text(value: object) -> str:
    """Returns a cell as text. Some writers leave strings as bytes, and a missing one as NaN."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return "" if value is None or value != value else str(value).strip()


def _json_value(value: Any) -> object:
    """Returns `value` as JSON can hold it: what it cannot (dates, bytes, NaN) as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _json_value(item) for name, item in value.items()}
    return value if value is None or isinstance(value, str | int | bool) else str(value)


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    with open(path, "rb") as raw:
        plain: Any = gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw
        yield io.TextIOWrapper(plain, encoding="utf-8-sig", newline="")


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with _open_text(path) as stream:
        yield from _named(path, csv.DictReader(stream, strict=True, skipinitialspace=True))


def _tsv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with _open_text(path) as stream:
        yield from _named(path, csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def _named(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, Any]]:
    try:
        for row in reader:
            row.pop(None, None)  # type: ignore[call-overload]  # cells beyond the header
            yield row
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.reader.line_num} cannot be read: {error}") from error


def _jsonl_rows(path: Path) -> Iterator[dict[str, Any]]:
    with _open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield _require_object(_parse_json(path, line, f"line {number}"), path, f"line {number}")


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with _open_text(path) as stream:
        document = _parse_json(path, stream.read(), "the file")
    if not isinstance(document, list):
        raise UserError(f"{path}: expected a JSON list of objects, found {type(document).__name__}")
    for number, row in enumerate(document, 1):
        yield _require_object(row, path, f"item {number}")


def _url_lines(path: Path) -> Iterator[str]:
    with _open_text(path) as stream:
        for line in stream:
            text = line.strip()
            if text and not text.startswith("#"):
                yield text


def _parse_json(path: Path, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: {where} is not JSON: {error}") from error


def _require_object(value: Any, path: Path, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{path}: {where}: expected a JSON object, found {type(value).__name__}")
    return value
