"""The members of a tar one after the other: headers alone are read, and nothing is kept, however large the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from x2i.errors import UserError
from x2i.reasons import DroppedError, Reason
from x2i.store.files.tar import DamagedTarError, Member, member_refusal, walk_headers


def iterate_members(stream: BinaryIO, path: str) -> Iterator[Member]:
    """Yields the plain files in a tar, in its order; folders are skipped.

    Raises UserError for a member that the store refuses too (see store.files.tar.list_members). Raises DroppedError,
    after the members before it, where the tar is damaged: BODY_TRUNCATED or FILE_ERROR.
    """
    try:
        for info in walk_headers(stream):
            if info.isdir():
                continue
            if refusal := member_refusal(info):
                raise UserError(f"{path}: member {info.name!r} {refusal}: refused")
            yield Member(info.name, info.offset_data, info.size)
    except DamagedTarError as damage:
        reason = Reason.BODY_TRUNCATED if damage.truncated else Reason.FILE_ERROR
        raise DroppedError(reason, str(damage)) from damage
