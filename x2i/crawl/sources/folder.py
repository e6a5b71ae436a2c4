"""A folder of images on this machine, with captions in files beside them; listed directory by directory."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from x2i.store import paths

_SKIPPED = "files were skipped: neither images nor captions by their names"
_DATASETS = "datasets of x2i in it were skipped"
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

    Hidden files and folders are left out, and so are x2i's own datasets. A link to a file is read as that file; links
    to folders are not entered, so that nothing is met twice. Raises UserError if `root` cannot be read.
    """
    listing = listing or _Listing()
    try:
        yield from _images_in(str(root), "", listing)
    except OSError as error:
        raise UserError(f"{root}: cannot be read: {error.strerror}") from error
    listing.remarks = +listing.remarks


def _images_in(folder: str, prefix: str, listing: _Listing) -> Iterator[FolderImage]:
    """Yields the images below a folder. prefix: its path from the source. Raises OSError if it cannot be listed."""
    with os.scandir(folder) as scan:
        entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=_order)
    if any(entry.name == paths.DATASET_FILE for entry in entries) and _is_dataset(folder):
        if prefix:
            listing.remarks[_DATASETS] += 1
            return
        entries = [entry for entry in entries if entry.name not in paths.PREVIEWS]
    captions = _captions(entries)
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _images_in(entry.path, f"{prefix}{entry.name}/", listing)
            elif entry.is_dir():
                listing.remarks[_NOT_ENTERED] += 1
            elif not entry.name.lower().endswith(IMAGE_SUFFIXES):
                listing.remarks[_SKIPPED] += not entry.name.lower().endswith(SIDECAR_SUFFIXES)
            elif entry.is_file():
                yield FolderImage(f"{prefix}{entry.name}", entry.path, _sidecars_of(entry, captions))
            else:
                listing.unread.append((_printable(entry.path), "it is neither a file nor a link to one that exists"))
        except OSError as error:
            listing.unread.append((_printable(entry.path), error.strerror or str(error)))


def _is_dataset(folder: str) -> bool:
    """Whether a folder with a dataset.json is a dataset of x2i."""
    try:
        document = json.loads(Path(folder, paths.DATASET_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and {"format_version", "name"} <= document.keys()


def _captions(entries: Sequence[os.DirEntry[str]]) -> dict[tuple[str, str], str]:
    """Returns the paths of the caption files among `entries` by the name they caption and their lower-case suffix."""
    captions: dict[tuple[str, str], str] = {}
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)
        if suffix.lower() in SIDECAR_SUFFIXES:
            captions.setdefault((stem, suffix.lower()), entry.path)
    return captions


def _sidecars_of(entry: os.DirEntry[str], captions: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    """Returns "a.jpg.txt", "a.txt", "a.jpg.caption" ... of "a.jpg", as far as they exist."""
    stems = (entry.name, os.path.splitext(entry.name)[0])
    keys = [(stem, suffix) for suffix in SIDECAR_SUFFIXES for stem in stems]
    return tuple(captions[key] for key in keys if key in captions)


def _order(entry: os.DirEntry[str]) -> bytes:
    return os.fsencode(entry.name)


def _read(path: str, notes: PlanningNotes) -> Caption:
    try:
        return read_caption(path)
    except (OSError, ValueError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        notes.unread.append((_printable(path), Dropped(Reason.FILE_ERROR, why)))
        return Caption()


def _printable(path: str) -> str:
    """Returns a path as a screen and a log can show it: a file name is bytes, not always text."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace("\n", "\\n")
