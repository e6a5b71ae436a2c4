"""A folder of images on this machine, with captions in files and tables beside them; listed folder by folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import normalize

from x2i.counting import counted
from x2i.crawl.locations import WHOLE_FILE, Location
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import CaptionOptions
from x2i.crawl.sources.row import UNREADABLE, SourceRow
from x2i.crawl.sources.sidecar import Caption, caption_of, read_bytes
from x2i.crawl.sources.tables_beside import TablesBeside
from x2i.errors import UserError
from x2i.importers.metadata_files import BESIDE_SUFFIXES, WEAK_SUFFIXES
from x2i.reasons import Dropped, Reason
from x2i.store import paths
from x2i.words import CAPTION_SUFFIXES, IMAGE_SUFFIXES

_WORDLESS = f"images have no words beside them (looked for A.jpg.txt, A.txt, {' '.join(CAPTION_SUFFIXES)}, and tables)"
_ALONE = "caption files lie beside no image of their name, such as {}"
_SHARED = "images share a caption file with another image of their name: each gets its words"
_SKIPPED = "files were skipped: neither images nor captions by their names"
_DATASETS = "datasets of x2i in it were skipped"
_DRAWN = "contact sheets and galleries of x2i in it were skipped"
_SHEET, _GALLERY = b"tEXtSoftware\0x2i", b'<meta name="generator" content="x2i">'
_HEAD = 512
"""Bytes of a PNG or a page among which the mark of x2i stands."""
_SHOWN = 3
_NOT_ENTERED = "links to folders were not entered: name those folders as sources of their own"


@dataclass(frozen=True)
class FolderImage:
    """relative: from the folder, with "/". path: to open. sidecars: its caption files, the most particular first."""

    relative: str
    path: str
    sidecars: tuple[str, ...]


@dataclass
class _Listing:
    """What is met beside images: folders, links and tables, what cannot be read, and how many of what is not read.

    alone: how many caption files belong to no image; first_alone: one of them.
    """

    unread: list[tuple[str, str]] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)
    alone: int = 0
    first_alone: str = ""
    shards: set[str] = field(default_factory=set)
    """Folders in which tars lie."""
    tables: TablesBeside | None = None
    """Given where the tables are to be read as well."""
    table_files: list[str] = field(default_factory=list)


class FolderSource(SourceKind):
    """A folder of images on this machine, with captions in files beside them."""

    title = "folder of images"
    looks_like = "a folder that holds images"
    text_source = "sidecar"
    options_class = CaptionOptions

    @classmethod
    def accepts(cls, source: str) -> bool:
        return Path(source).is_dir()

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        """Yields one row per image, by relative path; caption files that cannot be read are noted.

        Raises UserError if there is no image, or the folder itself cannot be read.
        """
        root, count = Path(self.source).resolve(), 0
        tables = TablesBeside(root, self.options.caption_lines)
        listing = _Listing(tables=tables)
        for image in list_images(root, listing):
            count += 1
            caption = Caption()
            for sidecar in image.sidecars:
                caption = caption.with_rest_of(self._read(sidecar, image.relative, notes), notes.remarks)
            caption = caption.with_rest_of(tables.about(image.relative), notes.remarks)
            notes.remarks[_WORDLESS] += not caption.text
            url = Path(image.path).as_uri()
            yield SourceRow(
                url=url,
                text=caption.text,
                text_source=caption.source,
                license=caption.license,
                extra=caption.extra,
                location=Location(WHOLE_FILE, url),
                name=f"{root.name}/{image.relative}",
            )
        notes.unread += [(path, Dropped(Reason.FILE_ERROR, why)) for path, why in listing.unread]
        notes.remarks += listing.remarks + tables.unused()
        if listing.alone:
            notes.remarks[_ALONE.format(listing.first_alone)] += listing.alone
        if not count:
            seen = "".join(f"; {counted(n, remark)}" for remark, n in listing.remarks.items())
            shards = " ".join(f"'{folder}/*.tar'" for folder in sorted(listing.shards)[:_SHOWN])
            seen += f"; for the shards in it: x2i crawl {shards}" if shards else ""
            raise UserError(
                f"{self.source}: no images (looked for {' '.join(IMAGE_SUFFIXES)}, subfolders included){seen}"
            )

    def digest(self) -> str:
        """Returns a digest of the listing: names, sizes and times of change of images and their caption files."""
        digest = hashlib.sha256()
        listing = _Listing()
        for image in list_images(Path(self.source).resolve(), listing):
            digest.update(os.fsencode(image.relative))
            for path in (image.path, *image.sidecars):
                digest.update(_state(path))
        for path in listing.table_files:
            digest.update(_state(path))
        return digest.hexdigest()

    def _read(self, path: str, image: str, notes: PlanningNotes) -> Caption:
        """Returns the words of the caption file of an image, given by its relative path."""
        lines, is_json = self.options.caption_lines, path.lower().endswith(".json")
        try:
            found = caption_of(read_bytes(path), is_json, lines, image, self.text_source, notes.remarks)
            return replace(found, place=os.path.splitext(path)[1].lower())
        except (OSError, ValueError) as error:
            notes.unread.append((_printable(path), Dropped(Reason.FILE_ERROR, _why(error))))
            return Caption(source=UNREADABLE)


def list_images(root: Path, listing: _Listing | None = None) -> Iterator[FolderImage]:
    """Yields the image files below `root`, by their path, with the names of one directory a level in memory.

    Hidden files and folders are left out, and so are x2i's own datasets, contact sheets and galleries. A link to a file
    is read as that file; links to folders are not entered, so that nothing is met twice. Raises UserError if `root`
    cannot be read.
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
    drawn = {entry.path for entry in entries if _is_drawn(entry)}
    if any(path.endswith("index.html") for path in drawn) and any(entry.name == "thumbs" for entry in entries):
        listing.remarks[_DRAWN] += 1
        return
    listing.remarks[_DRAWN] += sum(path.lower().endswith(".png") for path in drawn)
    entries = [entry for entry in entries if entry.path not in drawn]
    captions = _captions(entries)
    alone = _alone(entries, captions)
    images = [_stem(entry.name) for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES)]
    listing.remarks[_SHARED] += sum(n for stem, n in Counter(images).items() if n > 1 and _has_caption(stem, captions))
    for entry in entries:
        is_list = entry.path in alone and entry.name.lower().endswith(WEAK_SUFFIXES)
        if entry.name.lower().endswith(BESIDE_SUFFIXES) or is_list:
            is_read = _read_table(entry, prefix, frozenset(images), listing)
            alone -= {entry.path} if is_read else set()
    listing.alone += len(alone)
    listing.first_alone = listing.first_alone or min(map(_base_name, alone), default="")
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _images_in(entry.path, f"{prefix}{entry.name}/", listing)
            elif entry.is_dir():
                listing.remarks[_NOT_ENTERED] += 1
            elif not entry.name.lower().endswith(IMAGE_SUFFIXES):
                listing.shards |= {folder} if entry.name.lower().endswith(".tar") else set()
                listing.remarks[_SKIPPED] += not entry.name.lower().endswith((*CAPTION_SUFFIXES, *BESIDE_SUFFIXES))
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


def _is_drawn(entry: os.DirEntry[str]) -> bool:
    """Whether a file is a contact sheet of x2i or the page of one of its galleries."""
    mark = _SHEET if entry.name.lower().endswith(".png") else _GALLERY if entry.name == "index.html" else None
    if mark is None or not entry.is_file():
        return False
    try:
        with open(entry.path, "rb") as stream:
            return mark in stream.read(_HEAD)
    except OSError:  # it is told where the image is read
        return False


def _captions(entries: Sequence[os.DirEntry[str]]) -> dict[tuple[str, str], str]:
    """Returns the paths of the caption files among `entries` by the name they caption and their lower-case suffix."""
    captions: dict[tuple[str, str], str] = {}
    for entry in entries:
        suffix = os.path.splitext(entry.name)[1]
        if suffix.lower() in CAPTION_SUFFIXES:
            captions.setdefault((_stem(entry.name), suffix.lower()), entry.path)
    return captions


def _has_caption(stem: str, captions: Mapping[tuple[str, str], str]) -> bool:
    return any((stem, suffix) in captions for suffix in CAPTION_SUFFIXES)


def _sidecars_of(entry: os.DirEntry[str], captions: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    """Returns "a.jpg.txt", "a.txt", "a.jpg.caption" ... of "a.jpg", as far as they exist."""
    stems = (normalize("NFC", entry.name), _stem(entry.name))
    keys = [(stem, suffix) for suffix in CAPTION_SUFFIXES for stem in stems]
    return tuple(captions[key] for key in keys if key in captions)


def _alone(entries: Sequence[os.DirEntry[str]], captions: Mapping[tuple[str, str], str]) -> set[str]:
    """Returns the paths of the caption files that belong to no image among `entries`."""
    images = [entry.name for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES)]
    stems = {*(normalize("NFC", name) for name in images), *map(_stem, images)}
    return {path for (stem, _), path in captions.items() if stem not in stems}


def _stem(name: str) -> str:
    """Returns a file's name without its ending, in one form of Unicode: disks and programs differ in it."""
    return normalize("NFC", os.path.splitext(name)[0])


def _read_table(entry: os.DirEntry[str], prefix: str, stems: Collection[str], listing: _Listing) -> bool:
    """Reads a table beside images, where tables are to be read; returns whether it is one that names images.

    stems: the names of the images, without their endings.
    """
    listing.table_files.append(entry.path)
    try:
        return listing.tables is not None and listing.tables.read(entry.path, prefix, stems)
    except (OSError, ValueError) as error:
        listing.unread.append((_printable(entry.path), _why(error)))
        return True


def _state(path: str) -> bytes:
    """Returns what changes when a file does."""
    try:
        state = os.stat(path)
        return f"\0{len(path)}:{state.st_size}:{state.st_mtime_ns}".encode()
    except OSError:
        return b"\0gone"


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def _order(entry: os.DirEntry[str]) -> bytes:
    return os.fsencode(entry.name)


def _base_name(path: str) -> str:
    return _printable(os.path.basename(path))


def _printable(path: str) -> str:
    """Returns a path as a screen and a log can show it: a file name is bytes, not always text."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace("\n", "\\n")
