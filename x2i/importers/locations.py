"""Where the bytes of an image lie in a source, and how they are read back."""

from __future__ import annotations

import json
import posixpath
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from x2i.errors import UserError
from x2i.importers.table_files import read_cells
from x2i.reasons import DroppedError, Reason
from x2i.store.files.cache import local_copy
from x2i.store.files.remote import file_version, is_remote
from x2i.store.files.tar import read_range

MAX_IMAGE_BYTES = 256 << 20
_WEB = ("http://", "https://")


@dataclass(frozen=True)
class Location:
    """Where an image lies: in a file, in a member of a tar or zip, in a cell of a table, or on the web.

    path: of the file, relative to the importer's root with "/"; or an http(s) URL, which is left to `x2i crawl`.
    member: the name inside a zip or tar. offset, size: of a tar's member, in bytes; size is -1 for all else.
    group, row, field: of a cell: row group of a Parquet file or record batch of an Arrow stream, row in it, column.
    """

    path: str
    member: str = ""
    offset: int = 0
    size: int = -1
    group: int = 0
    row: int = 0
    field: str = ""

    @property
    def is_url(self) -> bool:
        return self.path.startswith(_WEB)

    @property
    def name(self) -> str:
        """The name of the image, unique in the source: "a/b.jpg", "c.zip/b.jpg", "d.parquet/0/7/image"."""
        if self.field:
            return f"{self.path}/{self.group}/{self.row}/{self.field}"
        return f"{self.path}/{self.member}" if self.member else self.path

    def to_json(self) -> str:
        """Returns the text that a plan row keeps."""
        defaults = {"member": "", "offset": 0, "size": -1, "field": ""}
        document = {name: value for name, value in asdict(self).items() if defaults.get(name) != value}
        if not self.field:
            del document["group"], document["row"]
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Location:
        return cls(**json.loads(text))


def inside(path: str, folder: str = "") -> str:
    """Returns a relative path that a source names, as seen from `folder` of that source: "a/./b/../c" becomes "a/c".

    Raises ValueError for a path that leads out of the source.
    """
    text = path.replace("\\", "/")
    parts = PurePosixPath(text).parts
    found = posixpath.normpath(posixpath.join(folder, *parts))
    if not parts or text.startswith("/") or found.split("/")[0] == ".." or ":" in parts[0] or "\0" in text:
        raise ValueError(f"{path!r} leads outside the folder of images")
    return found


def local_inside(path: str, root: Path) -> str:
    """Returns an absolute path or file:// URL of this machine in the folder `root` relative to it, any other as is."""
    local = unquote(path.removeprefix("file://")) if path.startswith("file:///") else path
    if local.startswith("/") and not is_remote(root):
        for base in (root.absolute(), root.resolve()):
            if PurePosixPath(local).is_relative_to(base):
                return PurePosixPath(local).relative_to(base).as_posix()
    return path


class LocationReader:
    """Reads images by their locations below `root`. It keeps the last table and archive open: neighbors are cheap."""

    def __init__(self, root: Path, max_bytes: int = MAX_IMAGE_BYTES) -> None:
        self._root, self._max_bytes = root, max_bytes
        self._cells: tuple[tuple[str, int, str], pa.Array] | None = None
        self._archive: tuple[str, zipfile.ZipFile] | None = None

    def read(self, location: Location) -> bytes:
        """Returns the encoded image.

        Raises DroppedError: FILE_ERROR if it cannot be read, BODY_EMPTY, BODY_TOO_LARGE, BODY_TRUNCATED, or URL_ONLY.
        """
        if location.is_url:
            raise DroppedError(Reason.URL_ONLY, "the image is on the web: x2i crawl fetches it")
        try:
            data = self._reader(location)(location)
        except (OSError, KeyError, ValueError, pa.ArrowException, zipfile.BadZipFile) as error:
            why = getattr(error, "strerror", None)
            raise DroppedError(Reason.FILE_ERROR, f"{why}: {location.name}" if why else str(error)) from error
        if not data:
            raise DroppedError(Reason.BODY_EMPTY)
        return data

    def _reader(self, location: Location) -> Callable[[Location], bytes]:
        if location.field:
            return self._cell
        if location.size >= 0:
            return self._range
        return self._zip_member if location.member else self._file

    def _file(self, location: Location) -> bytes:
        path = self._root / location.path
        self._require_size(path.stat().st_size)
        return path.read_bytes()

    def _range(self, location: Location) -> bytes:
        self._require_size(location.size)
        end = location.offset + location.size
        try:
            return read_range(self._root / location.path, location.offset, location.size)
        except UserError as error:
            raise DroppedError(Reason.BODY_TRUNCATED, f"{location.path} ends before byte {end:,}") from error

    def _zip_member(self, location: Location) -> bytes:
        if self._archive is None or self._archive[0] != location.path:
            self._archive = (location.path, zipfile.ZipFile(local_copy(self._root / location.path)))
        archive = self._archive[1]
        self._require_size(archive.getinfo(location.member).file_size)
        return archive.read(location.member)

    def _cell(self, location: Location) -> bytes:
        wanted = (location.path, location.group, location.field)
        if self._cells is None or self._cells[0] != wanted:
            self._cells = None  # before the next is read: one row group may be large
            self._cells = (wanted, read_cells(self._root / location.path, location.group, location.field))
        value: Any = self._cells[1][location.row].as_py()
        data, beside = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if data is None and beside:
            return self.read(self._named_by_cell(beside, location.path))
        self._require_size(len(data or b""))
        return data or b""

    def _named_by_cell(self, named: str, table: str) -> Location:
        """Returns the file that a cell without bytes names, as seen from its table's folder, or from the root.

        Raises DroppedError, which says where it was looked for; never in a folder that is not below the root.
        """
        if named.startswith(_WEB):
            return Location(named)
        local, looked_for = local_inside(named, self._root), list[str]()
        for folder in (posixpath.dirname(table), "") if local == named else ("",):
            try:
                path = inside(local, folder)
            except ValueError:
                continue
            if (self._root / path).is_file():
                return Location(path)
            looked_for.append(path)
        where = f"looked for {' and '.join(dict.fromkeys(looked_for))}" if looked_for else "it leads outside"
        raise DroppedError(
            Reason.FILE_ERROR,
            f"{table}: the cell has no bytes and names {named!r}, which is not in the imported folder ({where})",
        )

    def _require_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise DroppedError(Reason.BODY_TOO_LARGE, f"{size:,} bytes; at most {self._max_bytes:,}")


def location_states(locations: set[str], root: Path) -> list[list[Any]]:
    """Returns [path, size in bytes] of the files that these paths name below `root`; null for one that is missing."""
    states: list[list[Any]] = []
    for path in sorted(locations):
        version = file_version(root / path)
        states.append([path, version[0] if version else None])
    return states
