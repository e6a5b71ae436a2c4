"""Whether a tar is the one that its index describes, found out without reading it through.

The members that the index names lie end to end, each behind a header of 512 bytes, so the index alone tells where every
byte of the tar belongs. What is left to look at are the first and the last header, the end mark, and the gaps: a header
that stands in a gap is a member that the index does not name, and must be harmless.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from omnigen.data.shards.index import ShardIndex
from x2i.errors import UserError
from x2i.store.files.ranges import RangeReader
from x2i.store.files.tar import END_BLOCKS, HEADER_BYTES, member_refusal, parse_header

REMEDY = "Copy it again, or rebuild it"
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


def require_matching_tar(tar: Path, size: int, index: ShardIndex, index_name: str) -> None:
    """Raises UserError, naming the file and the remedy, unless the tar of `size` bytes is the one `index` describes.

    Refused: a tar that is too short or does not end as a tar, members that overlap, a first or last header of another
    sample, and members outside the index that are no plain files, have absolute or `..` names or can carry code.
    """
    starts = np.concatenate([index.json_offset, index.images["offset"]])
    counts = np.concatenate([index.json_size, index.images["bytes"].astype(np.int64)])
    order = np.argsort(starts)
    headers = starts[order] - HEADER_BYTES
    ends = starts[order] + -(-counts[order] // HEADER_BYTES) * HEADER_BYTES
    last = int(ends[-1]) if len(ends) else 0
    needed = last + END_BLOCKS * HEADER_BYTES
    if size < needed:
        raise UserError(f"{tar}: {size} bytes, its index needs {needed}: the file is truncated. {REMEDY}")
    ahead = np.concatenate([headers, [size]])
    behind = np.concatenate([[0], ends])
    if (headers < behind[:-1]).any():
        raise UserError(f"{index_name}: members overlap: tar and index are not of one making. {REMEDY}")
    outermost = (0, len(index) - 1) if len(index) else ()
    gaps = np.flatnonzero(ahead > behind)
    with RangeReader() as reader:
        looked_at = [int(index.json_offset[number]) - HEADER_BYTES for number in outermost] + behind[gaps].tolist()
        reader.fetch_ahead([(tar, position, HEADER_BYTES) for position in looked_at])
        for number in outermost:
            _require_header(reader, tar, int(index.json_offset[number]), index.keys[number].as_py(), index_name)
        for gap in gaps:
            _walk_gap(reader, tar, int(behind[gap]), int(ahead[gap]), at_end=gap == len(headers))


def _require_header(reader: RangeReader, tar: Path, offset: int, key: str, index_name: str) -> None:
    expected = f"{key}.json"
    info = _header(reader.read(tar, offset - HEADER_BYTES, HEADER_BYTES), tar, offset - HEADER_BYTES)
    if info is None or info.name != expected[: 100 if len(info.name) == 100 else None]:
        found = "the end of the archive" if info is None else repr(info.name)
        raise UserError(
            f"{tar}: found {found} where its index {index_name.rpartition('/')[2]} has {expected!r}: tar and index are "
            f"not of one making. {REMEDY}"
        )


def _walk_gap(reader: RangeReader, tar: Path, position: int, end: int, at_end: bool) -> None:
    """Looks at every header in bytes [position, end); the gap at the end must hold the end mark."""
    while position < end:
        info = _header(reader.read(tar, position, min(HEADER_BYTES, end - position)), tar, position)
        if info is None:
            if at_end:
                return
            raise UserError(f"{tar}: empty blocks at byte {position}, between members: the file is damaged. {REMEDY}")
        refusal = "" if info.type in _EXTENDED and info.size >= 0 else member_refusal(info)
        if refusal:
            raise UserError(f"{tar}: member {info.name!r} {refusal}: refused. Rebuild the shard without it")
        position += HEADER_BYTES + -(-info.size // HEADER_BYTES) * HEADER_BYTES
    if at_end or position > end:
        raise UserError(f"{tar}: truncated after byte {end}: the end of the archive is missing. {REMEDY}")


def _header(block: bytes, tar: Path, position: int) -> tarfile.TarInfo | None:
    """Returns what a header says, or None for a block of zeros."""
    if not block.strip(b"\0"):
        return None
    try:
        return parse_header(block)
    except tarfile.TarError as error:
        raise UserError(f"{tar}: damaged header at byte {position}: {error}. {REMEDY}") from error
