"""Tar files whose bytes depend on their contents alone, and access to their members by offset."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, BinaryIO

from x2i.errors import UserError
from x2i.store.files.atomic import atomic_file
from x2i.store.files.cache import cached_copy, local_copy
from x2i.store.files.ranges import fetch_ranges
from x2i.store.files.remote import is_remote

HEADER_BYTES = 512
END_BLOCKS = 2  # an archive ends with two blocks of zeros
# Fields of a ustar header (POSIX.1-2017, pax): name 100 bytes, size 12, checksum 8, itself summed as eight blanks.
_LONGEST_NAME = 100
_LARGEST_SIZE = 8**11
_SIZE_FIELD = slice(124, 136)
_SUM_FIELD = slice(148, 156)
_SUM_OF_BLANKS = 8 * ord(" ")
FORBIDDEN_SUFFIXES = frozenset({"pkl", "pickle", "pth", "pt", "ckpt", "joblib", "dill", "pyd", "pyc", "so", "dll"})


@dataclass(frozen=True)
class Member:
    """One file inside a tar: `offset` and `size` in bytes locate its data, so no tar code is needed to read it."""

    name: str
    offset: int
    size: int

    @property
    def key(self) -> str:
        return self.name.split(".", 1)[0]

    @property
    def suffix(self) -> str:
        return self.name.split(".", 1)[1] if "." in self.name else ""


class TarShardWriter:
    """Writes samples as deterministic ustar: mtime 0, uid 0, no names, mode 0444.

    Members of a sample are written in the sorted order of their suffixes. Not webdataset's writer: importing that
    library imports torch, which every crawling process would pay for with two seconds and 270 MB.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.bytes_written = 0

    @property
    def sha256(self) -> str:
        """The sha256 of what was written, in hex: after `close`, that of the file, which need not be read again."""
        return self._digest.hexdigest()

    def add(self, key: str, files: Mapping[str, bytes]) -> dict[str, Member]:
        """Adds one sample: `files` maps a suffix such as "output.jpg" to its bytes. Returns each suffix's place."""
        members: dict[str, Member] = {}
        for suffix in sorted(files):
            data = files[suffix]
            name = f"{key}.{suffix}"
            members[suffix] = Member(name, self.bytes_written + HEADER_BYTES, len(data))
            self._write(b"".join((member_header(name, len(data)), data, bytes(-len(data) % HEADER_BYTES))))
        return members

    def close(self) -> None:
        """Ends the archive; the stream stays open."""
        end = END_BLOCKS * HEADER_BYTES
        self._write(bytes(end + -(self.bytes_written + end) % tarfile.RECORDSIZE))

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self.bytes_written += len(data)


@contextmanager
def tar_shard(path: Path) -> Iterator[TarShardWriter]:
    """Opens a TarShardWriter on `path`; the file appears whole when the block ends, or not at all."""
    with atomic_file(path) as stream:
        writer = TarShardWriter(stream)
        yield writer
        writer.close()


def list_members(path: Path) -> list[Member]:
    """Returns every member of the tar at `path` in file order.

    Raises UserError if the file is no tar, is compressed, damaged or truncated, or holds a member with an absolute or
    `..` name, of a special type, or of a kind that can carry code (pickles, shared objects).
    """
    members, problems = survey_members(path)
    if problems:
        raise UserError(f"{path}: {problems[0]}")
    return members


def survey_members(path: Path) -> tuple[list[Member], list[str]]:
    """Returns the plain members of the tar at `path` in file order, and everything that is wrong with the file.

    What `list_members` refuses at once is collected here, so that a checker can name all of it. Raises OSError if the
    file cannot be read at all.
    """
    members: list[Member] = []
    problems: list[str] = []
    with open(local_copy(path), "rb") as stream:
        try:
            for info in walk_headers(stream):
                refusal = member_refusal(info)
                if refusal:
                    problems.append(f"member {info.name!r} {refusal}: refused")
                else:
                    members.append(Member(info.name, info.offset_data, info.size))
        except DamagedTarError as damage:
            problems.append(str(damage))
    return members, problems


class DamagedTarError(ValueError):
    """A tar that does not end as a tar. truncated: its end is missing; otherwise something else stands there."""

    def __init__(self, problem: str, truncated: bool = False) -> None:
        super().__init__(problem)
        self.truncated = truncated


def walk_headers(stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yields the header of every member of a plain tar, in file order; keeps none, and reads no member's data.

    A header of negative size is the last. Raises DamagedTarError, after the members before it, where the tar is
    damaged or cut off: nothing but zero blocks, at least two, may follow the last member.
    """
    total = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    last, end = "", 0
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                if info.size < 0:  # tarfile would step backwards for ever
                    yield info
                    return
                if info.isreg() and info.offset_data + info.size > total:
                    raise DamagedTarError(f"truncated inside member {info.name!r}", truncated=True)
                yield info
                last, end = info.name, archive.offset
                if end > total:
                    raise DamagedTarError(f"truncated inside member {last!r}", truncated=True)
    except DamagedTarError:
        raise
    except (tarfile.TarError, EOFError, ValueError) as error:
        where = f"damaged after member {last!r}" if last else "not a readable plain tar"
        raise DamagedTarError(f"{where}: {error}") from error
    _require_end(stream, end, total, last)


def member_at(path: Path, offset: int) -> Member | None:
    """Returns the member whose data begins at `offset`, or None if no member's data does."""
    with open(local_copy(path), "rb") as stream:
        stream.seek(max(0, offset - HEADER_BYTES))
        header = stream.read(HEADER_BYTES)
        end = stream.seek(0, os.SEEK_END)
    try:
        info = parse_header(header)
    except tarfile.TarError:
        return None
    return Member(info.name, offset, info.size) if offset + info.size <= end else None


def parse_header(block: bytes) -> tarfile.TarInfo:
    """Returns what one block of HEADER_BYTES says of the member behind it. Raises tarfile.TarError."""
    return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")


def read_range(path: Path, offset: int, size: int) -> bytes:
    """Returns `size` bytes of `path` from `offset`. Raises UserError if the file ends before."""
    local = cached_copy(path) if is_remote(path) else path
    if local is None:
        return fetch_ranges([(path, offset, size)])[path, offset, size]
    data = _pread(local, offset, size)
    if len(data) != size:
        raise UserError(f"{path}: wanted {size} bytes at {offset}, found {len(data)}: the file is truncated")
    return data


def member_header(name: str, size: int) -> bytes:
    """Returns the ustar header of a member, as tarfile makes it but six times faster: name, size and sum are set in a
    header that was made once. Raises ValueError for a name or a size that ustar cannot hold.
    """
    path = name.encode()
    if len(path) > _LONGEST_NAME or size >= _LARGEST_SIZE:
        return _tarfile_header(name, size)
    header = bytearray(_empty_header())
    header[: len(path)] = path
    header[_SIZE_FIELD] = b"%011o\0" % size
    header[_SUM_FIELD] = b"%06o\0 " % (sum(header) + _SUM_OF_BLANKS)
    return bytes(header)


@cache
def _empty_header() -> bytes:
    """Returns the header of a member without a name, its sum left out."""
    header = bytearray(_tarfile_header("", 0))
    header[_SUM_FIELD] = bytes(8)
    return bytes(header)


def _tarfile_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


def _pread(path: Path, offset: int, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def member_refusal(info: tarfile.TarInfo) -> str:
    if info.name.startswith("/") or ".." in info.name.replace("\\", "/").split("/"):
        return "has an absolute or '..' name"
    if not info.isreg() or info.issparse():
        return "is not a plain file"
    if info.size < 0:
        return "has a negative size"
    if FORBIDDEN_SUFFIXES.intersection(info.name.lower().split(".")[1:]):
        return "can carry code"
    return ""


def _require_end(stream: BinaryIO, end: int, total: int, last: str) -> None:
    """tarfile takes a damaged header, or none, for the end of the archive: what follows the last member decides."""
    stream.seek(end)
    position = end
    while chunk := stream.read(1 << 20):
        if chunk.strip(b"\0"):
            cut = total - end < HEADER_BYTES
            what = "truncated header" if cut else "damaged header or foreign bytes"
            raise DamagedTarError(f"{what} after member {last!r}, at byte {position}", truncated=cut)
        position += len(chunk)
    if total < end + END_BLOCKS * HEADER_BYTES or total % HEADER_BYTES:
        raise DamagedTarError(f"truncated after member {last!r}: the end-of-archive blocks are missing", truncated=True)
