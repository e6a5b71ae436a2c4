"""Reading a body: what is held of it, however it is cut into pieces on its way."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator

from multidict import CIMultiDict

from x2i.crawl.http.body import read_body

PIECES = 100_000


class Drip:
    """An answer that comes two bytes at a time; what `read_body` uses of aiohttp's."""

    content_length = None
    headers = CIMultiDict[str]()

    @property
    def content(self) -> Drip:
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        for number in range(PIECES):
            yield number.to_bytes(4, "big")[2:]


def test_a_body_in_many_small_pieces_takes_no_more_memory_than_its_bytes() -> None:
    async def reserve(size: int) -> None:
        """Room for everything."""

    tracemalloc.start()
    try:
        body = asyncio.run(read_body(Drip(), 10**6, reserve))  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(body) == 2 * PIECES
    assert body[2:6] == b"\0\1\0\2"
    assert peak < 4 * len(body)
