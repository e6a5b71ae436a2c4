"""Reading a response body within a budget, Content-Encoding included: nothing is held beyond the budget."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from x2i.reasons import DroppedError, Reason

if TYPE_CHECKING:
    import aiohttp

ACCEPT_ENCODING = "gzip, deflate"
_READABLE = frozenset({"gzip", "x-gzip", "deflate"})
_CODINGS = _READABLE | {"br", "zstd", "compress", "x-compress", "dcb", "dcz"}
"""Those that IANA has registered and that change the bytes."""
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_GZIP_MARK = b"\x1f"


async def read_body(
    response: aiohttp.ClientResponse, max_bytes: int, reserve: Callable[[int], Awaitable[None]], *, cut: bool = False
) -> bytes:
    """Returns the decoded body. `reserve` is awaited with the size so far after each piece, and may delay reading on.

    With `cut`, a body may be longer: its first `max_bytes` are returned.

    Raises DroppedError: BODY_TOO_LARGE as soon as the announced, received or decompressed size passes `max_bytes`;
    BODY_TRUNCATED if a compressed stream stops short; BAD_ENCODING; BODY_EMPTY.
    """
    announced = response.content_length
    if announced is not None and announced > max_bytes and not cut:
        raise DroppedError(Reason.BODY_TOO_LARGE, f"{announced} bytes announced; at most {max_bytes}")
    decoder = _decoder(", ".join(response.headers.getall("Content-Encoding", [])))
    body = bytearray()
    received = 0
    async for chunk in response.content.iter_any():
        received += len(chunk)
        if received > max_bytes and not cut:
            raise DroppedError(Reason.BODY_TOO_LARGE, f"more than {max_bytes} bytes")
        body += chunk if decoder is None else decoder.feed(chunk, max_bytes - len(body))
        if len(body) > max_bytes:
            if cut:
                return bytes(body[:max_bytes])
            raise DroppedError(Reason.BODY_TOO_LARGE, f"decompresses to more than {max_bytes} bytes")
        await reserve(len(body))
    if decoder is not None and received:
        decoder.finish()
    if not body:
        raise DroppedError(Reason.BODY_EMPTY)
    return bytes(body)


class _Inflater:
    """Decompresses gzip or zlib streams piece by piece, never making more than one byte beyond what it may.

    "deflate" means a zlib stream (RFC 9110 section 8.4.1.2), but some servers send the bare deflate data inside it.
    """

    def __init__(self, is_deflate: bool) -> None:
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._must_look = is_deflate
        self._begun = b""

    def feed(self, chunk: bytes, room: int) -> bytes:
        """Returns at most `room` + 1 bytes; gzip members that follow each other are one body (RFC 1952)."""
        if self._must_look:
            chunk = self._begun = self._begun + chunk
            if len(chunk) < 2:
                return b""
            self._must_look = False
            if not _is_zlib_or_gzip(chunk):
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        out = b""
        while chunk and len(out) <= room:
            if self._stream.eof:
                if not chunk.startswith(_GZIP_MARK):
                    break  # padding after the stream, which browsers pass over too
                self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                out += self._stream.decompress(chunk, room + 1 - len(out))
            except zlib.error as error:
                raise DroppedError(Reason.BAD_ENCODING, str(error)) from error
            chunk = self._stream.unused_data
        return out

    def finish(self) -> None:
        if not self._stream.eof:
            raise DroppedError(Reason.BODY_TRUNCATED, "the compressed stream stops before its end")


def _is_zlib_or_gzip(start: bytes) -> bool:
    """Whether data begins as RFC 1950 or 1952 says."""
    is_zlib = start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
    return is_zlib or start.startswith(_GZIP_MARK)


def _decoder(encoding: str) -> _Inflater | None:
    """Returns what decodes a body. A coding of no known name ("none", "utf-8", "aws-chunked") has coded nothing."""
    names = [name for part in encoding.lower().split(",") if (name := part.strip()) in _CODINGS]
    if not names:
        return None
    if len(names) == 1 and names[0] in _READABLE:
        return _Inflater(names[0] == "deflate")
    raise DroppedError(Reason.BAD_ENCODING, f"Content-Encoding {encoding!r} was not asked for")
