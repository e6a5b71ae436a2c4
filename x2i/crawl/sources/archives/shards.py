"""WebDataset shards (.tar) as a source: images are read where they lie in the tar; keys, captions and fields are kept.

The layout: https://github.com/webdataset/webdataset#the-webdataset-format; img2dataset writes the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from x2i.crawl.locations import BYTE_RANGE, Location, open_url, stable_name
from x2i.crawl.sources.archives.files import files_digest, named_files, names_files
from x2i.crawl.sources.archives.tar_members import iterate_members
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import CaptionOptions
from x2i.crawl.sources.row import SourceRow
from x2i.crawl.sources.sidecar import Caption, caption_of
from x2i.errors import UserError
from x2i.reasons import Dropped, DroppedError, Reason
from x2i.store.files.tar import Member
from x2i.words import CAPTION_NAMES

SUFFIXES = (".tar",)
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
IMAGE_SUFFIXES = ("jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif")
TEXT_SUFFIXES = ("txt", "text", "caption", "cap")
URL_FIELDS = ("url", "image_url")
PRIVATE_FIELDS = ("exif",)
"""img2dataset keeps the EXIF of an image as text: where and with which device it was taken is not carried on."""
MAX_FIELDS_BYTES = 1 << 20
SHARED = "images in shards share the words of their sample: each gets them"
WORDLESS = "images in shards have no words (looked for .{} and captions in .json)"
ALONE = "members of shards with words belong to no image of their sample, such as {}"
TWICE = "samples of a shard have a key that came before: all are kept apart"
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)")


class ShardSource(SourceKind):
    """A WebDataset shard, or several that a pattern names."""

    title = "WebDataset shard"
    looks_like = " ".join(SUFFIXES)
    text_source = "shard"
    options_class = CaptionOptions

    @classmethod
    def accepts(cls, source: str) -> bool:
        return names_files(source, (*SUFFIXES, *COMPRESSED_SUFFIXES))

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        """Yields the images of each shard: headers and captions are read, pixels are not.

        Members that differ only after the first dot of their name are one sample, wherever they stand. Words whose
        name is that of an image up to its last dot are those of this image, others are those of the whole sample. A
        damaged shard is noted, and what stands before the damage is kept. Raises UserError for compressed tars and for
        members that the store refuses.
        """
        if self.source.lower().endswith(COMPRESSED_SUFFIXES):
            raise UserError(
                f"{self.source}: a compressed tar has no random access to its members, which planning and resuming "
                "need: decompress it first (gunzip, xz -d, zstd -d); its images are compressed already"
            )
        for url in named_files(self.source):
            yield from _shard_rows(url, self.options, notes)

    def digest(self) -> str:
        return files_digest(self.source)


@dataclass
class _Sample:
    """The members of one sample, by what follows the first dot of their names, in lower case."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)


def _shard_rows(url: str, options: CaptionOptions, notes: PlanningNotes) -> Iterator[SourceRow]:
    try:
        stream = open_url(url)
    except OSError as error:
        raise UserError(f"{url}: cannot be read: {error}") from error
    with stream:
        for sample in _samples(_members_before_damage(stream, url, notes), notes):
            yield from _SampleReader(stream, url, options, notes).rows(sample)


def _samples(members: Iterator[Member], notes: PlanningNotes) -> list[_Sample]:
    """Returns the samples in the order of their first members. A member named again begins another sample."""
    samples: list[_Sample] = []
    latest: dict[str, _Sample] = {}
    for member in members:
        key, suffix = _split(member)
        if not key or suffix.rpartition(".")[2] not in (*IMAGE_SUFFIXES, *TEXT_SUFFIXES, "json"):
            continue
        if key not in latest or suffix in latest[key].members:
            notes.remarks[TWICE] += key in latest
            latest[key] = _Sample(key)
            samples.append(latest[key])
        latest[key].members[suffix] = member
    return samples


def _members_before_damage(stream: BinaryIO, url: str, notes: PlanningNotes) -> Iterator[Member]:
    try:
        yield from iterate_members(stream, url)
    except DroppedError as error:
        notes.pages += 1
        notes.failures.append((url, error.verdict))


@dataclass(frozen=True)
class _SampleReader:
    """Reads the words of the samples of one shard."""

    stream: BinaryIO
    url: str
    options: CaptionOptions
    notes: PlanningNotes

    def rows(self, sample: _Sample) -> Iterator[SourceRow]:
        """Yields the images of a sample with their words."""
        images = {suffix: member for suffix, member in sample.members.items() if _ending(suffix) in IMAGE_SUFFIXES}
        if not images:
            return
        said = self._said(sample, {_stem(suffix) for suffix in images})
        shared = said.pop(None, Caption())
        for suffix, member in images.items():
            own = said.get(_stem(suffix), Caption()) if _stem(suffix) else Caption()
            caption = own.with_rest_of(shared)
            self.notes.remarks[SHARED] += bool(len(images) > 1 and shared.text and not own.text)
            self.notes.remarks[WORDLESS.format(", .".join(TEXT_SUFFIXES))] += not caption.text
            address = next((caption.extra[name] for name in URL_FIELDS if name in caption.extra), "")
            is_web = isinstance(address, str) and address.startswith(("http://", "https://"))
            extra = {name: v for name, v in caption.extra.items() if name not in (*URL_FIELDS, *PRIVATE_FIELDS)}
            extra |= {"key": sample.key} | ({"member": suffix} if len(images) > 1 else {})
            yield SourceRow(
                url=str(address) if is_web else f"{self.url}#{member.name}",
                text=caption.text,
                license=caption.license,
                extra=extra,
                location=Location(BYTE_RANGE, self.url, member.offset, member.size),
                name=f"{stable_name(self.url)}/{member.name}@{member.size}",
                text_source=caption.source,
            )

    def _said(self, sample: _Sample, images: set[str]) -> dict[str | None, Caption]:
        """Returns the words of a sample by the stem of the image that they are about; None: about the whole sample.

        Words of a stem that is neither an image's nor a usual name of captions are left out and noted.
        """
        order = (*TEXT_SUFFIXES, "json")
        words = [suffix for suffix in sample.members if _ending(suffix) in order]
        said: dict[str | None, Caption] = {}
        for suffix in sorted(words, key=lambda suffix: (suffix.count("."), order.index(_ending(suffix)))):
            stem, member = _stem(suffix), sample.members[suffix]
            about = next((image for image in (stem, stem.rpartition(".")[0]) if image and image in images), None)
            if about is None and stem and stem not in (*CAPTION_NAMES, *IMAGE_SUFFIXES):
                self.notes.remarks[ALONE.format(member.name)] += 1
                continue
            said[about] = said.get(about, Caption()).with_rest_of(self._read(member), self.notes.remarks)
        return said

    def _read(self, member: Member) -> Caption:
        """Returns what a member says, with a note if it cannot be read."""
        position = self.stream.tell()
        self.stream.seek(member.offset)
        data = self.stream.read(min(member.size, MAX_FIELDS_BYTES + 1))
        self.stream.seek(position)
        is_json = member.name.lower().endswith(".json")
        try:
            found = caption_of(
                data, is_json, self.options.caption_lines, member.name, ShardSource.text_source, self.notes.remarks
            )
            return replace(found, extra=_finite(found.extra), place=f".{_ending(member.name.lower())}")
        except ValueError as error:
            self.notes.pages += 1
            verdict = Dropped(Reason.FILE_ERROR, str(error)[:200])
            self.notes.failures.append((f"{self.url}#{member.name}", verdict))
            return Caption()


def _ending(suffix: str) -> str:
    return suffix.rpartition(".")[2]


def _stem(suffix: str) -> str:
    return suffix.rpartition(".")[0]


def _split(member: Member) -> tuple[str, str]:
    """Returns the key of a sample and what follows its first dot, in lower case; ("", "") for hidden files."""
    match = _NAME.fullmatch(member.name.removeprefix("./"))
    return (match[1], match[2].lower()) if match else ("", "")


def _finite(value: Any) -> Any:
    """Returns a JSON value without the infinities that numbers too large become."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {name: _finite(item) for name, item in value.items()} if isinstance(value, Mapping) else value
