"""The members of a tar one after the other: headers alone are read, and nothing is kept, however large the file."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from x2i.errors import UserError
from x2i.reasons import DroppedError, Reason
from x2i.store.files.tar import END_BLOCKS, HEADER_BYTES, Member, member_refusal

_CHUNK = 1 << 20


def iterate_members(stream: BinaryIO, path: str) -> Iterator[Member]:
    """Yields the plain files in a tar, in its order; folders are skipped.

    Raises UserError for a member that the store refuses too (see store.files.tar.list_members). Raises DroppedError,
    after the members before it, where the tar is damaged: BODY_TRUNCATED or FILE_ERROR.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    last, end = "", 0
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                last, end = info.name, archive.offset
                if info.isdir():
                    continue
                why = member_refusal(info)
                if why:
                    raise UserError(f"{path}: member {info.name!r} {why}: refused")
                if info.offset_data + info.size > size:
                    raise DroppedError(Reason.BODY_TRUNCATED, f"truncated inside member {last!r}")
                yield Member(info.name, info.offset_data, info.size)
    except (tarfile.TarError, EOFError, ValueError) as error:
        where = f"after member {last!r}" if last else "not a readable tar"
        raise DroppedError(Reason.FILE_ERROR, f"{where}: {error}") from error
    _require_end(stream, size, end, last)


def _require_end(stream: BinaryIO, size: int, end: int, last: str) -> None:
    """tarfile takes a damaged header, or none, for the end of the archive: only zero blocks may follow it."""
    if size < end + END_BLOCKS * HEADER_BYTES:
        raise DroppedError(Reason.BODY_TRUNCATED, f"the end of the tar is missing after member {last!r}")
    stream.seek(end)
    while chunk := stream.read(_CHUNK):
        if chunk.strip(b"\0"):
            raise DroppedError(Reason.FILE_ERROR, f"damaged header or foreign bytes after member {last!r}")
