"""Sources of a crawl: the table of their kinds, how a source text finds its kind, and reading located images back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.locations import BYTE_RANGE, WHOLE_FILE, LocatedBytes, Location, read_plain
from x2i.crawl.sources.kind import SourceKind
from x2i.errors import UserError
from x2i.reasons import DroppedError, Reason
from x2i.registry import IMPORT_PATH, Registry
from x2i.settings import with_set
from x2i.words import IMAGE_SUFFIXES

SOURCES: Registry[SourceKind] = Registry(
    "source kind",
    {
        "table": "x2i.crawl.sources.tables.table:TableSource",
        "page": "x2i.crawl.sources.pages.site:PageSource",
        "scenes": "x2i.crawl.sources.scenes:SceneSource",
        "folder": "x2i.crawl.sources.folder:FolderSource",
        "saved_page": "x2i.crawl.sources.pages.saved_page:SavedPageSource",
        "wat": "x2i.crawl.sources.archives.wat:WatSource",
        "warc": "x2i.crawl.sources.archives.warc:WarcSource",
        "shard": "x2i.crawl.sources.archives.shards:ShardSource",
        "video": "x2i.crawl.sources.videos.video:VideoSource",
    },
)
"""Every kind, in the order in which they are asked whether they accept a source."""

_ARCHIVES = (".zip", ".7z", ".rar")


def kind_of(source: str) -> type[SourceKind]:
    """Returns the kind of a source: the first that accepts it, or the class named in `mypackage.module:Class=ARGUMENT`.

    Raises UserError if there is none.
    """
    path, _ = _split(source)
    if path:
        return SOURCES.get(path)
    for name in SOURCES:  # one after the other, since most need a library of their own
        if (kind := SOURCES.get(name)).accepts(source):
            return kind
    if not Path(source).exists():
        raise UserError(f"source {source!r}: no such file or folder, and no http(s) URL")
    suffix = Path(source).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        raise UserError(f"source {source!r}: one image is no source: crawl its folder, {str(Path(source).parent)!r}")
    if suffix in _ARCHIVES:
        raise UserError(f"source {source!r}: {suffix} files are not read: unpack it and crawl the folder")
    expected = "; ".join(f"{kind.title} ({kind.looks_like})" for kind in map(SOURCES.get, SOURCES))
    raise UserError(
        f"source {source!r}: unknown kind {Path(source).suffix!r}; expected one of: {expected}; or "
        "mypackage.module:Class=ARGUMENT for a kind of your own"
    )


def open_source(
    source: str, options: Sequence[object] = (), policy: FetchPolicy | None = None, settings: Sequence[str] = ()
) -> SourceKind:
    """Returns the source that a text names, ready to be read.

    options: each kind takes the one of its own options class. settings: "key=value" for kinds from outside, which are
    not among `options`. Raises UserError.
    """
    kind = kind_of(source)
    path, argument = _split(source)
    own = next((value for value in options if type(value) is kind.options_class), None)
    if own is None:
        own = with_set(kind.options_class, settings if path else (), f"source {source!r}")
    return kind(argument, own, policy or FetchPolicy())


def read_location(location: Location, max_bytes: int, agent: str = "x2i") -> LocatedBytes:
    """Returns the encoded image at `location`. agent: our product token, which archived opt-out headers may address.

    Raises DroppedError: FILE_ERROR if it cannot be read, BODY_TOO_LARGE (more than `max_bytes`), BODY_EMPTY, or the
    reason of the source kind that reads it, such as BODY_TRUNCATED, BAD_ENCODING, OPT_OUT, IMAGE_CORRUPT.
    """
    try:
        if location.kind in (WHOLE_FILE, BYTE_RANGE):
            found = read_plain(location, max_bytes)
        else:
            found = SOURCES.get(location.kind).read_location(location, max_bytes, agent)
    except OSError as error:
        raise DroppedError(Reason.FILE_ERROR, error.strerror or str(error)) from error
    if not found.data:
        raise DroppedError(Reason.BODY_EMPTY)
    return found


def _split(source: str) -> tuple[str, str]:
    """Returns the import path of a kind from outside, "" if none is named, and what it is to read."""
    path, mark, argument = source.partition("=")
    return (path, argument) if mark and IMPORT_PATH.fullmatch(path) else ("", source)
