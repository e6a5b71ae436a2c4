"""Waiting for a host: concurrent requests, delay between their starts, pauses that the host asked for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL

from x2i.crawl.http.hosts import HostRegistry, origin_of
from x2i.crawl.http.outcome import FetchError

_POLL = (0.002, 0.008)
"""Bounds in seconds of the random wait between two attempts to get what another process holds."""


class HostThrottle:
    """Lets requests through to each origin: at most `per_host` at once, starts at least `delay` seconds apart.

    Both limits span every process of this user on this machine; see HostRateLimiter. `delay` grows to what the host's
    robots.txt asks for, once that is known.
    """

    def __init__(self, hosts: HostRegistry, per_host: int, delay: float, agent: str) -> None:
        self._hosts = hosts
        self._per_host = per_host
        self._delay = delay
        self._agent = agent
        self._limiter = hosts.limiter
        self._semaphores: dict[str, asyncio.Semaphore] = {}
        self._random = random.Random()

    @asynccontextmanager
    async def slot(self, url: URL, budget: asyncio.Semaphore) -> AsyncIterator[None]:
        """Waits until a request to `url` may start; holds one of the host's slots while the block runs.

        Also acquires a permit of `budget`, which the caller releases. Permit, slot and start time are taken at once or
        not at all, so that a request that waits for one blocks the others for nobody, here or in other processes.
        Raises FetchError if the host becomes, meanwhile, one that is to be left alone.
        """
        origin = origin_of(url)
        async with self._semaphores.setdefault(origin, asyncio.Semaphore(self._per_host)):
            slot = await self._start(url, origin, budget)
            try:
                yield
            finally:
                self._limiter.release(slot)

    async def _start(self, url: URL, origin: str, budget: asyncio.Semaphore) -> int:
        while True:
            if refusal := self._hosts.state(url).current_refusal():
                raise FetchError.of(refusal)
            delay = self._delay_at(url)
            if wait := self._limiter.wait_seconds(origin, delay):
                await self._sleep(wait)
                continue
            await budget.acquire()
            slot = self._limiter.acquire(origin, self._per_host)
            if slot is not None:
                if not (wait := self._limiter.start(origin, delay)):
                    return slot
                self._limiter.release(slot)
            budget.release()
            await self._sleep(wait)

    async def mark_sent(self, url: URL) -> None:
        """Counts the delay from now on, when the request has left, however long connecting took."""
        while not self._limiter.mark_sent(origin_of(url)):
            await self._sleep(0.0)

    async def pause(self, url: URL, seconds: float) -> None:
        """Keeps every request to this host back for `seconds`, as it asked."""
        while not self._limiter.pause(origin_of(url), seconds):
            await self._sleep(0.0)

    def has_delay(self, url: URL) -> bool:
        """Whether requests to this host are kept apart, as far as this process knows."""
        return self._delay_at(url) > 0

    def _delay_at(self, url: URL) -> float:
        rules = self._hosts.state(url).rules
        return max(self._delay, rules.crawl_delay(self._agent) if rules else 0.0)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, self._random.uniform(*_POLL)) if seconds < _POLL[1] else seconds)
