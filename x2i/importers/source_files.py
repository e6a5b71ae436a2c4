"""The files of a source: listed in a fixed order, and told apart by their sizes and versions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from x2i.errors import UserError
from x2i.store.commits import digest, file_digest
from x2i.store.files.remote import file_version

_READ_WHOLE = 64 << 20


def list_source(path: Path, suffixes: Collection[str] | None = None) -> Iterator[Path]:
    """Yields the files of a source, itself or those below a folder, by their relative paths; hidden ones are left out.

    suffixes: in lower case, such as ".parquet"; None for all. Raises UserError if `path` does not exist.
    """
    if not path.is_dir():
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        yield path
        return
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from list_source(entry, suffixes)
        elif suffixes is None or entry.suffix.lower() in suffixes:
            yield entry


def relative_name(path: Path, root: Path) -> str:
    """Returns the path of a file below `root`, with "/"."""
    return path.relative_to(root).as_posix() if path != root else path.name


def files_digest(path: Path) -> str:
    """Returns a digest of a source: of the contents of a small file, else of names, sizes and versions of its files."""
    states = []
    for file in list_source(path):
        version = file_version(file)
        if file == path and version is not None and version[0] <= _READ_WHOLE:
            return file_digest(file)
        states.append([relative_name(file, path), version])
    return digest(states)
