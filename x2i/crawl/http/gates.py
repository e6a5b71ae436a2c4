"""Politeness towards hosts: how many requests at once, how far apart, and when a host has asked to be left alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL

from x2i.crawl.http.hosts import HostBook, origin_of
from x2i.crawl.http.outcome import FetchError

_POLL = (0.002, 0.008)
"""Seconds between two looks for what another process holds: a random number between these, so that none keeps step."""


class HostGates:
    """Lets requests through to each origin: at most `per_host` at once, starts at least `delay` seconds apart.

    Both hold over every process of this user on this machine; see HostTurns. `delay` grows to what the robots.txt of
    the host asks for, once that is known.
    """

    def __init__(self, book: HostBook, per_host: int, delay: float, agent: str) -> None:
        self._book = book
        self._per_host = per_host
        self._delay = delay
        self._agent = agent
        self._turns = book.turns
        self._semaphores: dict[str, asyncio.Semaphore] = {}
        self._random = random.Random()

    @asynccontextmanager
    async def enter(self, url: URL, budget: asyncio.Semaphore) -> AsyncIterator[None]:
        """Waits for a permit of `budget`, a place at the host of `url` and its turn; gives the place back in the end.

        The permit is the caller's to release. All three are taken at once or not at all, so that a request that has to
        wait for one of them keeps the others from nobody: not from other hosts, and not from other processes. Raises
        FetchError if the host turns out, while this waits, to be one that is to be left alone.
        """
        origin = origin_of(url)
        async with self._semaphores.setdefault(origin, asyncio.Semaphore(self._per_host)):
            place = await self._start(url, origin, budget)
            try:
                yield
            finally:
                self._turns.give_back(place)

    async def _start(self, url: URL, origin: str, budget: asyncio.Semaphore) -> int:
        while True:
            if refusal := self._book.of(url).current_refusal():
                raise FetchError.of(refusal)
            delay = self._delay_at(url)
            if wait := self._turns.seconds_to_wait(origin, delay):
                await self._sleep(wait)
                continue
            await budget.acquire()
            place = self._turns.take_place(origin, self._per_host)
            if place is not None:
                if not (wait := self._turns.start(origin, delay)):
                    return place
                self._turns.give_back(place)
            budget.release()
            await self._sleep(wait)

    async def sent(self, url: URL) -> None:
        """Told when a request has left: the delay counts from then on, however long connecting took."""
        while not self._turns.sent(origin_of(url)):
            await self._sleep(0.0)

    async def pause(self, url: URL, seconds: float) -> None:
        """Keeps every request to this host back for `seconds`, as it asked."""
        while not self._turns.hold(origin_of(url), seconds):
            await self._sleep(0.0)

    def has_delay(self, url: URL) -> bool:
        """Whether requests to this host are kept apart, as far as this process knows."""
        return self._delay_at(url) > 0

    def _delay_at(self, url: URL) -> float:
        rules = self._book.of(url).rules
        return max(self._delay, rules.crawl_delay(self._agent) if rules else 0.0)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, self._random.uniform(*_POLL)) if seconds < _POLL[1] else seconds)
