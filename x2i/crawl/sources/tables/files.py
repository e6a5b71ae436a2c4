"""The files that a table source names: one, or several by a pattern or a folder, here or on a store; opening them."""

from __future__ import annotations

import glob
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

from x2i.crawl.locations import file_state, local_path, open_url, source_url
from x2i.errors import UserError
from x2i.store.commits import digest, file_digest
from x2i.words import IMAGE_SUFFIXES

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", *(f"{suffix}.gz" for suffix in TEXT_SUFFIXES))
_WEAK = (".json", ".txt", ".json.gz", ".txt.gz")
_MISNAMED = {
    b"\x1f\x8b": "compressed by gzip: add .gz to its name",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: decompress it first",
    b"PK\x03\x04": "a zip archive or an Excel workbook: save it as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save it as CSV in UTF-8",
    b"PAR1": "Parquet: name it .parquet",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
}


def is_table(source: str) -> bool:
    """Whether a source text names tables: by suffix, also in a pattern or an http(s) URL; or a folder of tables."""
    if _is_web(source):
        return _has_suffix(urlsplit(source).path)
    if _is_pattern(source):
        return _has_suffix(source) or (
            "://" not in source and bool(found := _matches(source)) and all(map(_has_suffix, found))
        )
    if "://" in source and not source.startswith("file://"):
        return _has_suffix(source) or (not Path(urlsplit(source).path).suffix and _is_folder_of_tables(source))
    path = local_path(source) if source.startswith("file://") else Path(source)
    return (_has_suffix(path.name) and path.is_file()) or (path.is_dir() and _is_folder_of_tables(str(path)))


def table_files(source: str) -> list[str]:
    """Returns the files of a table source, by name. Raises UserError if a pattern or folder gives none."""
    if _is_web(source):
        return [source]
    try:
        found = _matches(source) if _is_pattern(source) else _folder_files(source) if not _has_suffix(source) else None
    except OSError as error:
        raise UserError(f"{source}: cannot be listed: {error}") from error
    if found is None:
        return [source]
    tables = [file for file in found if _has_suffix(file)]
    if not tables:
        raise UserError(f"{source}: no table matches; expected files that end with {' '.join(SUFFIXES)}")
    return tables


def tables_digest(source: str) -> str:
    """Returns a digest of the files' bytes; of files on a store, of their sizes and versions."""
    files = table_files(source)
    if len(files) == 1:
        return _file_digest(files[0])
    return digest([[file.rpartition("/")[2], _file_digest(file)] for file in files])


def file_kind(file: str) -> str:
    """Returns "csv", "tsv", "json", "jsonl", "ndjson", "txt" or "parquet"."""
    name = urlsplit(file).path if _is_web(file) else file
    return name.lower().removesuffix(".gz").rpartition(".")[2]


def is_compressed(file: str) -> bool:
    return (urlsplit(file).path if _is_web(file) else file).lower().endswith(".gz")


@contextmanager
def open_table(file: str) -> Iterator[IO[bytes]]:
    """Opens the plain bytes of a table. Raises UserError for a file that is evidently not what its name says."""
    with open_url(source_url(file)) as raw:
        stream: Any = gzip.GzipFile(fileobj=raw) if is_compressed(file) else raw
        head = stream.read(512)
        stream.seek(0)
        for magic, what in _MISNAMED.items():
            if head.startswith(magic) and not (magic == b"PAR1" and file_kind(file) == "parquet"):
                raise UserError(f"{file}: is {what}")
        if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
            raise UserError(f"{file}: is an HTML page, perhaps an answer that says why the download failed: look at it")
        yield cast("IO[bytes]", stream)


def _is_web(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def _is_pattern(source: str) -> bool:
    return any(mark in source for mark in "*?[") and not os.path.exists(source)


def _has_suffix(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _matches(pattern: str) -> list[str]:
    if "://" not in pattern:
        found = [name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)]
    else:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(pattern, use_listings_cache=False)
        found = [fs.unstrip_protocol(name) for name in fs.glob(path)]
    named = set(pattern.split("/"))
    return sorted(name for name in found if not any(p[:1] in ("_", ".") and p not in named for p in name.split("/")))


def _is_folder_of_tables(folder: str) -> bool:
    try:
        names = _walk(folder)
        tables = False
        for name in names:
            if name.lower().endswith(IMAGE_SUFFIXES):
                return False
            tables = tables or _has_suffix(name)
        return tables
    except (OSError, ValueError, ImportError):
        return False


def _folder_files(folder: str) -> list[str]:
    """Returns the tables below a folder. A .txt or .json beside tables of other kinds is a remark, and left out."""
    tables = sorted(name for name in _walk(folder) if _has_suffix(name))
    strong = [name for name in tables if not name.lower().endswith(_WEAK)]
    return strong or tables


def _walk(folder: str) -> Iterator[str]:
    """Yields the files below a folder; what begins with "." or "_" is bookkeeping of other tools."""
    if "://" in folder and not folder.startswith("file://"):
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(folder, use_listings_cache=False)
        for found, _, names in fs.walk(path):
            yield from (fs.unstrip_protocol(f"{found}/{name}") for name in names if name[:1] not in ("", ".", "_"))
        return
    start = str(local_path(folder)) if folder.startswith("file://") else folder
    for found, folders, names in os.walk(start):
        folders[:] = [name for name in folders if name[0] not in "._"]
        yield from (os.path.join(found, name) for name in names if name[0] not in "._")


def _file_digest(file: str) -> str:
    url = source_url(file)
    return file_digest(local_path(url)) if url.startswith("file://") else digest([file_state(url)])
