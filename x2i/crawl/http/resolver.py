"""Names to addresses for aiohttp, behind the network guard."""

from __future__ import annotations

import socket

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from x2i.crawl.http.guard import AddressPolicy


class GuardedResolver(AbstractResolver):
    """Resolves a name once and passes on only what was checked: aiohttp connects to exactly these addresses.

    One forbidden address among several refuses the name, since which of them is dialled is not ours to choose.
    """

    def __init__(self, policy: AddressPolicy, inner: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._inner.resolve(host, port, family)
        for result in results:
            self._policy.require(result["host"], host)
        return results

    async def close(self) -> None:
        await self._inner.close()
