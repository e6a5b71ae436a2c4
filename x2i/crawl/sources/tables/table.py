"""Tables of URLs: .csv .tsv .parquet .json .jsonl .txt, the text kinds also as .gz; one or several, here or remote."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import TableOptions
from x2i.crawl.sources.tables.files import SUFFIXES, file_kind, is_table, open_table, table_files, tables_digest
from x2i.crawl.sources.tables.lines import BadLines, TextLines
from x2i.crawl.sources.tables.parquet import parquet_rows
from x2i.crawl.sources.tables.text import delimited_rows, json_rows, jsonl_rows, txt_rows
from x2i.errors import UserError


class TableSource(SourceKind):
    """One table of URLs, or several that a pattern or a folder names."""

    title = "table"
    looks_like = f"{' '.join(SUFFIXES)}, a pattern such as 'lists/*.parquet', or a folder of these"
    options_class = TableOptions
    uses_network = True

    @classmethod
    def accepts(cls, source: str) -> bool:
        return is_table(source)

    def rows(self, notes: PlanningNotes) -> Iterator[pa.Table]:
        """Yields the rows of all tables, file by file."""
        bad = BadLines(self.options.skip_bad_lines, notes)
        for file in table_files(self.source):
            yield from read_table(file, self.options, bad)

    def digest(self) -> str:
        return tables_digest(self.source)


def read_table(file: str, columns: TableOptions, bad: BadLines) -> Iterator[pa.Table]:
    """Yields tables of SOURCE_SCHEMA, one row per table row, in file order; a row without a URL has url "".

    Raises UserError for a file that is not of the kind its name says, or has no column of URLs.
    """
    kind = file_kind(file)
    try:
        with open_table(file) as stream:
            rows = parquet_rows(file, stream, columns, bad.notes) if kind == "parquet" else None
            first = True
            for table in rows if rows is not None else _text_rows(kind, TextLines(file, stream, bad), columns, bad):
                if first:
                    _require_addresses(file, table["url"], columns)
                first = False
                yield table
    except UserError:
        raise
    except EOFError as error:
        raise UserError(f"{file}: ends in the middle of its compressed data: fetch or write it again") from error
    except (OSError, zlib.error, RecursionError, csv.Error) as error:
        raise UserError(f"{file}: cannot be read as {kind}: {error}") from error
    except Exception as error:  # the library of a store raises errors of its own
        if "://" not in file or file.startswith("file://"):
            raise
        raise UserError(f"{file}: cannot be read: {error}") from error


def _text_rows(kind: str, lines: TextLines, columns: TableOptions, bad: BadLines) -> Iterator[pa.Table]:
    if kind == "txt":
        return txt_rows(lines)
    if kind in ("csv", "tsv"):
        return delimited_rows(lines, columns, bad, is_csv=kind == "csv")
    return json_rows(lines, columns, bad) if kind == "json" else jsonl_rows(lines, columns, bad)


def _require_addresses(file: str, urls: pa.ChunkedArray, columns: TableOptions) -> None:
    """Raises UserError if none of the first cells looks like an address: then it is not the column that was meant."""
    filled = urls.filter(pc.not_equal(urls, ""))
    if not len(filled) or pc.any(pc.match_substring(filled, ":")).as_py():
        return
    example = filled[0].as_py()[:60]
    fix = "name the column of URLs with --url-col" if file_kind(file) != "txt" else "expected one URL per line"
    raise UserError(
        f"{file}: none of the first {len(urls)} rows holds a URL (found, for example, {example!r}): {fix}; "
        "URLs begin with http:// or https://"
    )
