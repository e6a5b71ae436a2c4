"""A folder of images on this machine, with captions in files beside them; listed directory by directory."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from x2i.crawl.locations import WHOLE_FILE, Location
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.row import SourceRow
from x2i.crawl.sources.sidecar import SIDECAR_SUFFIXES, Caption, read_caption
from x2i.crawl.sources.tables.files import IMAGE_SUFFIXES, count_tables
from x2i.errors import UserError
from x2i.reasons import Dropped, Reason

_PASSED_OVER = "files were passed over: neither images nor captions by their names"
_NOT_ENTERED = "links to folders were not entered: name those folders as sources of their own"


@dataclass(frozen=True)
class FolderImage:
    """relative: from the folder, with "/". path: to open. sidecars: its caption files, the most particular first."""

    relative: str
    path: str
    sidecars: tuple[str, ...]


@dataclass
class _Listing:
    """What is met beside images: folders and links that cannot be read, and how many of what is not read."""

    unread: list[tuple[str, str]] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)


class FolderSource(SourceKind):
    """A folder of images on this machine, with captions in files beside them."""

    title = "folder of images"
    looks_like = "a folder that holds images"

    @classmethod
    def accepts(cls, source: str) -> bool:
        return Path(source).is_dir()

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        """Yields one row per image, by relative path; caption files that cannot be read are noted.

        Raises UserError if there is no image, or the folder itself cannot be read.
        """
        if tables := count_tables(self.source):
            fix = f"to read them, name them as well, such as '{self.source.rstrip('/')}/*.parquet'"
            notes.remarks[f"tables beside the images of {self.source} are not read: {fix}"] += tables
        root, listing, count = Path(self.source).resolve(), _Listing(), 0
        for image in list_images(root, listing):
            count += 1
            caption = Caption()
            for sidecar in image.sidecars:
                caption = caption.with_rest_of(_read(sidecar, notes))
            url = Path(image.path).as_uri()
            yield SourceRow(
                url=url,
                text=caption.text,
                license=caption.license,
                extra=caption.extra,
                location=Location(WHOLE_FILE, url),
                name=f"{root.name}/{image.relative}",
            )
        notes.unread += [(path, Dropped(Reason.FILE_ERROR, why)) for path, why in listing.unread]
        notes.remarks += listing.remarks
        if not count:
            seen = "".join(f"; {n} {remark}" for remark, n in listing.remarks.items())
            raise UserError(
                f"{self.source}: no images (looked for {' '.join(IMAGE_SUFFIXES)}, subfolders included){seen}"
            )

    def digest(self) -> str:
        """Returns a digest of the listing: names, sizes and times of change of images and their caption files."""
        digest = hashlib.sha256()
        for image in list_images(Path(self.source).resolve(), _Listing()):
            digest.update(os.fsencode(image.relative))
            for path in (image.path, *image.sidecars):
                try:
                    state = os.stat(path)
                    digest.update(f"\0{len(path)}:{state.st_size}:{state.st_mtime_ns}".encode())
                except OSError:
                    digest.update(b"\0gone")
        return digest.hexdigest()


def list_images(root: Path, listing: _Listing | None = None) -> Iterator[FolderImage]:
    """Yields the image files below `root`, by their path, holding no more than one directory's names at a level.

    Hidden files and folders are left out. A link to a file is read as that file; links to folders are not entered, so
    that nothing is met twice. Raises UserError if `root` cannot be read.
    """
    listing = listing or _Listing()
    waiting: list[Iterator[os.DirEntry[str]]] = []
    names: list[_Names] = []
    try:
        _enter(str(root), "", waiting, names)
    except OSError as error:
        raise UserError(f"{root}: cannot be read: {error.strerror}") from error
    while waiting:
        entry = next(waiting[-1], None)
        here = names[-1]
        if entry is None:
            waiting.pop()
            names.pop()
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                _enter(entry.path, f"{here.prefix}{entry.name}/", waiting, names)
            elif entry.is_dir():
                listing.remarks[_NOT_ENTERED] += 1
            elif not _is_image_name(entry.name):
                listing.remarks[_PASSED_OVER] += not entry.name.lower().endswith(SIDECAR_SUFFIXES)
            elif entry.is_file():
                yield FolderImage(f"{here.prefix}{entry.name}", entry.path, here.sidecars_of(entry.name))
            else:
                listing.unread.append((_shown(entry.path), "it is neither a file nor a link to one that exists"))
        except OSError as error:
            listing.unread.append((_shown(entry.path), error.strerror or str(error)))
    listing.remarks = +listing.remarks


@dataclass(frozen=True)
class _Names:
    """The caption files of one directory, by the name they caption and their suffix in lower case."""

    folder: str
    prefix: str
    captions: dict[tuple[str, str], str]

    def sidecars_of(self, name: str) -> tuple[str, ...]:
        """Returns "a.jpg.txt", "a.txt", "a.jpg.caption" ... of "a.jpg", as far as they exist."""
        stems = (name, os.path.splitext(name)[0])
        keys = [(stem, suffix) for suffix in SIDECAR_SUFFIXES for stem in stems]
        return tuple(os.path.join(self.folder, self.captions[key]) for key in keys if key in self.captions)


def _enter(path: str, prefix: str, waiting: list[Iterator[os.DirEntry[str]]], names: list[_Names]) -> None:
    with os.scandir(path) as scan:
        entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=_order)
    captions: dict[tuple[str, str], str] = {}
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)
        if suffix.lower() in SIDECAR_SUFFIXES:
            captions.setdefault((stem, suffix.lower()), entry.name)
    waiting.append(iter(entries))
    names.append(_Names(path, prefix, captions))


def _order(entry: os.DirEntry[str]) -> bytes:
    return os.fsencode(entry.name)


def _is_image_name(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _read(path: str, notes: PlanningNotes) -> Caption:
    try:
        return read_caption(path)
    except (OSError, ValueError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        notes.unread.append((_shown(path), Dropped(Reason.FILE_ERROR, why)))
        return Caption()


def _shown(path: str) -> str:
    """Returns a path as a screen and a log can show it: a file name is bytes, not always text."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace("\n", "\\n")
