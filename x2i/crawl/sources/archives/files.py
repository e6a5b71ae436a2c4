"""The archives or videos that one source text names: a file, or all that a pattern such as 'shards/*.tar' matches."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from x2i.crawl.locations import file_state, source_url
from x2i.errors import UserError
from x2i.store.commits import digest


def names_files(source: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a source text names files with these suffixes on this machine, or on a store."""
    scheme = source.partition("://")[0].lower() if "://" in source else ""
    if scheme in ("http", "https") or not source.lower().endswith(suffixes):
        return False
    return bool(scheme) or Path(source).is_file() or _is_pattern(source)


def named_files(source: str) -> list[str]:
    """Returns the URLs of the files, a pattern's by name. Raises UserError if a pattern matches none."""
    if not _is_pattern(source):
        return [source_url(source)]
    if "://" in source:
        found = _matches_on_store(source)
    else:
        found = [Path(name).resolve().as_uri() for name in glob.glob(source, recursive=True) if os.path.isfile(name)]
    if not found:
        raise UserError(f"{source}: no file matches")
    return sorted(found)


def files_digest(source: str) -> str:
    """Returns a digest of the files' sizes and versions: hashing their bytes would take as long as planning them."""
    return digest([[url, file_state(url)] for url in named_files(source)])


def _is_pattern(source: str) -> bool:
    """Whether a text is a pattern; a file on this machine that happens to look like one is a file."""
    return any(mark in source for mark in "*?[") and ("://" in source or not Path(source).is_file())


def _matches_on_store(source: str) -> list[str]:
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(source)
        return [fs.unstrip_protocol(name) for name in fs.glob(path)]
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{source}: cannot be listed: {error}") from error
