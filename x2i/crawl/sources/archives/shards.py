"""WebDataset shards (.tar) as a source: images are read where they lie in the tar; keys, captions and fields are kept.

The layout: https://github.com/webdataset/webdataset#the-webdataset-format; img2dataset writes the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, BinaryIO

from x2i.crawl.locations import BYTE_RANGE, Location, open_url, stable_name
from x2i.crawl.sources.archives.files import files_digest, named_files, names_files
from x2i.crawl.sources.archives.tar_members import iterate_members
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.row import SourceRow
from x2i.errors import UserError
from x2i.reasons import Dropped, DroppedError, Reason
from x2i.store.files.tar import Member

SUFFIXES = (".tar",)
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
IMAGE_SUFFIXES = ("jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif")
TEXT_SUFFIXES = ("txt", "text", "caption")
TEXT_FIELDS = ("caption", "text", "alt")
LICENSE_FIELDS = ("license", "licence")
URL_FIELDS = ("url", "image_url")
PRIVATE_FIELDS = ("exif",)
"""img2dataset keeps the EXIF of an image as text: where and with which device it was taken is not carried on."""
MAX_FIELDS_BYTES = 1 << 20
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)")


class ShardSource(SourceKind):
    """A WebDataset shard, or several that a pattern names."""

    title = "WebDataset shard"
    looks_like = " ".join(SUFFIXES)

    @classmethod
    def accepts(cls, source: str) -> bool:
        return names_files(source, (*SUFFIXES, *COMPRESSED_SUFFIXES))

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        """Yields the images of each shard: headers and captions are read, pixels are not.

        Neighbors that differ only after the first dot of their name are one sample. A damaged shard is noted, and what
        stands before the damage is kept. Raises UserError for compressed tars and for members that the store refuses.
        """
        if self.source.lower().endswith(COMPRESSED_SUFFIXES):
            raise UserError(
                f"{self.source}: a compressed tar has no random access to its members, which planning and resuming "
                "need: decompress it first (gunzip, xz -d, zstd -d); its images are compressed already"
            )
        for url in named_files(self.source):
            yield from _shard_rows(url, notes)

    def digest(self) -> str:
        return files_digest(self.source)


def _shard_rows(url: str, notes: PlanningNotes) -> Iterator[SourceRow]:
    try:
        stream = open_url(url)
    except OSError as error:
        raise UserError(f"{url}: cannot be read: {error}") from error
    with stream:
        for key, members in groupby(_members_before_damage(stream, url, notes), key=lambda member: _split(member)[0]):
            yield from _sample_rows(stream, url, key, list(members), notes)


def _members_before_damage(stream: BinaryIO, url: str, notes: PlanningNotes) -> Iterator[Member]:
    try:
        yield from iterate_members(stream, url)
    except DroppedError as error:
        notes.pages += 1
        notes.failures.append((url, error.verdict))


def _sample_rows(
    stream: BinaryIO, url: str, key: str, members: Sequence[Member], notes: PlanningNotes
) -> Iterator[SourceRow]:
    images = [member for member in members if _split(member)[1].rpartition(".")[2] in IMAGE_SUFFIXES]
    if not images or not key:
        return
    text, fields = "", {}
    for member in members:
        suffix = _split(member)[1]
        if suffix in TEXT_SUFFIXES:
            text = text or " ".join(_read(stream, member).decode("utf-8", "replace").split())
        elif suffix == "json":
            fields = _parse_fields(stream, url, member, notes)
    known = {*TEXT_FIELDS, *LICENSE_FIELDS, *URL_FIELDS, *PRIVATE_FIELDS}
    extra = {name: value for name, value in fields.items() if name not in known} | {"key": key}
    address = _first_text(fields, URL_FIELDS)
    for member in images:
        yield SourceRow(
            url=address if address.startswith(("http://", "https://")) else f"{url}#{member.name}",
            text=text or _first_text(fields, TEXT_FIELDS),
            license=_first_text(fields, LICENSE_FIELDS),
            extra=extra if len(images) == 1 else {**extra, "member": _split(member)[1]},
            location=Location(BYTE_RANGE, url, member.offset, member.size),
            name=f"{stable_name(url)}/{member.name}@{member.size}",
        )


def _split(member: Member) -> tuple[str, str]:
    """Returns the key of a sample and what follows its first dot, in lower case; ("", "") for hidden files."""
    match = _NAME.fullmatch(member.name.removeprefix("./"))
    return (match[1], match[2].lower()) if match else ("", "")


def _parse_fields(stream: BinaryIO, url: str, member: Member, notes: PlanningNotes) -> dict[str, Any]:
    """Returns the fields of a sample's .json, {} with a note if it holds none."""
    try:
        document = json.loads(_read(stream, member), parse_constant=lambda name: None)
        if isinstance(document, dict):
            return {name: _finite(value) for name, value in document.items()}
        detail = f"expected a JSON object, found {type(document).__name__}"
    except (ValueError, RecursionError) as error:
        detail = f"not JSON: {error}"
    notes.pages += 1
    notes.failures.append((f"{url}#{member.name}", Dropped(Reason.FILE_ERROR, detail[:200])))
    return {}


def _finite(value: Any) -> Any:
    """Returns a JSON value without the infinities that numbers too large become."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {name: _finite(item) for name, item in value.items()} if isinstance(value, dict) else value


def _read(stream: BinaryIO, member: Member) -> bytes:
    """Returns the bytes of a caption or of fields; those of unreasonable length are cut."""
    position = stream.tell()
    stream.seek(member.offset)
    data = stream.read(min(member.size, MAX_FIELDS_BYTES))
    stream.seek(position)
    return data


def _first_text(fields: Mapping[str, Any], names: Sequence[str]) -> str:
    values = (fields.get(name) for name in names)
    return next((" ".join(value.split()) for value in values if isinstance(value, str) and value), "")
