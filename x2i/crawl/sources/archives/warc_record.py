"""One record of a WARC or WAT file: iterating over an archive, and the payload of an HTTP answer.

WARC 1.1: https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urldefrag

from multidict import CIMultiDict

from x2i.crawl.http.optout import header_opt_out
from x2i.crawl.http.outcome import FetchError
from x2i.crawl.locations import LocatedBytes, Location, open_url, read_bytes
from x2i.crawl.sources.notes import PlanningNotes
from x2i.errors import UserError
from x2i.image.header import sniff
from x2i.reasons import Dropped, DroppedError, Reason

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

HEADERS_ROOM = 128 * 1024
"""What WARC and HTTP headers may add to a record's payload, in bytes."""
_CHUNK = 1 << 20


def iterate_records(url: str, notes: PlanningNotes) -> Iterator[tuple[WarcRecord, int]]:
    """Yields the records of an archive with the byte each begins at; HTTP is not parsed yet.

    A record is valid until the next one is asked for. Damage ends the archive and is noted. Raises UserError if the
    file cannot be opened, or is compressed as a whole.
    """
    fastwarc = require_fastwarc()
    try:
        stream = open_url(url)
    except OSError as error:
        raise UserError(f"{url}: cannot be read: {error}") from error
    position = -1
    with stream:
        try:
            for record in fastwarc.ArchiveIterator(stream, parse_http=False):
                if record.stream_pos == position:
                    raise UserError(
                        f"{url}: its records cannot be read one by one, because it is compressed as a whole; "
                        "decompress it, or run `warcio recompress`"
                    )
                position = record.stream_pos
                if record.headers.get("Content-Length"):
                    yield record, position
                else:
                    note_damage(notes, url, position, Reason.BODY_TRUNCATED, "the archive ends within this record")
            if not _ends_whole(stream, max(position, 0)):
                note_damage(notes, url, max(position, 0), Reason.BODY_TRUNCATED, "the archive ends too early")
        except OSError as error:
            detail = f"damaged after this record, the rest is not read: {error}"
            note_damage(notes, url, max(position, 0), Reason.FILE_ERROR, detail)


def note_damage(notes: PlanningNotes, url: str, position: int, reason: Reason, detail: str) -> None:
    """Notes what could not be read of an archive, and where."""
    notes.pages += 1
    notes.failures.append((f"{url}#{position}", Dropped(reason, detail)))


def read_record(location: Location, max_bytes: int, agent: str) -> LocatedBytes:
    """Returns the image in one archived answer. Raises OSError, or DroppedError: OPT_OUT and what `payload` raises."""
    fastwarc = require_fastwarc()
    data = read_bytes(location.path, location.offset, min(location.size, max_bytes + HEADERS_ROOM))
    record = next(iter(fastwarc.ArchiveIterator(io.BytesIO(data), parse_http=False)), None)
    if record is None:
        raise DroppedError(Reason.BODY_TRUNCATED, "the archive ends before the record")
    record.parse_http()
    status = http_status(record)
    signal = header_opt_out(headers_of(record), agent)
    if signal:
        raise FetchError(Reason.OPT_OUT, signal, status, signal)
    try:
        return LocatedBytes(payload(record, max_bytes), status)
    except DroppedError as error:
        raise FetchError(error.verdict.reason, error.verdict.detail, status) from error


def payload(record: WarcRecord, max_bytes: int) -> bytes:
    """Returns the decoded body of a record whose HTTP headers are parsed.

    Some crawlers store a body decoded and keep the headers that say it is not: bytes that begin as an image are one.

    Raises DroppedError: BODY_TOO_LARGE (more than `max_bytes`, as stored or decoded), BODY_TRUNCATED, BAD_ENCODING.
    """
    cut = record.headers.get("WARC-Truncated")
    if cut:
        raise DroppedError(Reason.BODY_TRUNCATED, f"the crawler stopped reading: WARC-Truncated: {cut}"[:200])
    expected = record.content_length or 0
    if expected > max_bytes + HEADERS_ROOM:
        raise DroppedError(Reason.BODY_TOO_LARGE, f"{expected} bytes; at most {max_bytes}")
    try:
        raw = _read(record.reader, max_bytes + HEADERS_ROOM)
    except OSError as error:
        raise DroppedError(Reason.BAD_ENCODING, f"the record does not decompress: {error}"[:200]) from error
    if len(raw) < expected:
        raise DroppedError(Reason.BODY_TRUNCATED, f"{len(raw)} of {expected} bytes are in the archive")
    headers = headers_of(record)
    encodings = [name.strip() for name in headers.get("Content-Encoding", "").lower().split(",")]
    chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    if _begins_as_image(raw) or not (chunked or any(encodings)):
        announced = headers.get("Content-Length", "")
        if announced.isdigit() and len(raw) < int(announced) and not any(encodings):
            raise DroppedError(Reason.BODY_TRUNCATED, f"{len(raw)} of {announced} announced bytes are in the archive")
        body = raw
    else:
        body = _decode(raw, chunked, encodings, max_bytes)
    if len(body) > max_bytes:
        raise DroppedError(Reason.BODY_TOO_LARGE, f"more than {max_bytes} bytes")
    return body


def target_url(record: WarcRecord) -> str:
    """Returns the address that was archived, without fragment; some writers put it into angle brackets."""
    text = (record.headers.get("WARC-Target-URI") or "").strip()
    return urldefrag(text.removeprefix("<").removesuffix(">")).url


def http_status(record: WarcRecord) -> int:
    status = record.http_headers.status_code if record.http_headers is not None else None
    return int(status or 0)


def headers_of(record: WarcRecord) -> CIMultiDict[str]:
    """Returns the HTTP headers, with every value of a name that comes several times."""
    return CIMultiDict(list(record.http_headers) if record.http_headers is not None else [])


def require_fastwarc() -> Any:
    """Returns the module `fastwarc.warc`. Raises UserError if it is not installed."""
    try:
        import fastwarc.warc
    except ImportError as error:
        raise UserError("WARC and WAT files need FastWARC, which is not installed: pip install 'x2i[warc]'") from error
    return fastwarc.warc


def _decode(raw: bytes, chunked: bool, encodings: list[str], max_bytes: int) -> bytes:
    from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, ZstdReader

    reader: Any = io.BytesIO(raw)
    try:
        if chunked:
            reader = ChunkedReader(reader)
        for name in reversed(encodings):
            if name in ("gzip", "x-gzip"):
                reader = GzipReader(reader)
            elif name == "deflate":
                reader = GzipReader(reader, zlib=True)
            elif name == "br":
                reader = BrotliReader(reader)
            elif name == "zstd":
                reader = ZstdReader(reader)
            elif name not in ("", "identity"):
                raise DroppedError(Reason.BAD_ENCODING, f"Content-Encoding {name!r}"[:200])
        return _read(reader, max_bytes + 1)
    except OSError as error:
        raise DroppedError(Reason.BAD_ENCODING, str(error).encode("ascii", "replace").decode()[:200]) from error


def _read(reader: Any, limit: int) -> bytes:
    """Returns what a reader holds, at most `limit` bytes."""
    pieces, length = [], 0
    while length < limit and (piece := reader.read(min(_CHUNK, limit - length))):
        pieces.append(piece)
        length += len(piece)
    return b"".join(pieces)


def _begins_as_image(data: bytes) -> bool:
    try:
        return bool(sniff(data[:1024]))
    except DroppedError:
        return False


def _ends_whole(stream: BinaryIO, position: int) -> bool:
    """Whether the gzip member that begins at `position` is the last thing in the file, and whole; True without gzip.

    FastWARC takes a member whose WARC headers are cut off for the end of the archive.
    """
    stream.seek(position)
    chunk = stream.read(_CHUNK)
    if not chunk.startswith(b"\x1f\x8b\x08"):
        return True
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        while chunk and not inflate.eof:
            inflate.decompress(chunk, _CHUNK)
            chunk = inflate.unconsumed_tail or stream.read(_CHUNK)
    except zlib.error:
        return False
    return inflate.eof and not inflate.unused_data.strip(b"\0") and not stream.read(1)


def file_size(url: str) -> int:
    """Returns the size of an archive in bytes."""
    with open_url(url) as stream:
        return stream.seek(0, os.SEEK_END)
