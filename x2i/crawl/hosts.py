"""Politeness per host: how many requests at once, how far apart, and when a host has asked to be left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from yarl import URL

from x2i.crawl.robots import RobotsRules


@dataclass
class HostState:
    """What is remembered about one origin between partitions. `next_start`: on the monotonic clock, in seconds."""

    rules: RobotsRules | None = None
    next_start: float = 0.0


@dataclass
class HostBook:
    """The hosts a worker process has met; plain data, so that it outlives any event loop."""

    states: dict[str, HostState] = field(default_factory=dict)

    def of(self, url: URL) -> HostState:
        return self.states.setdefault(str(url.origin()), HostState())


class HostGates:
    """Lets requests through to each origin: at most `per_host` at once, starts at least `delay` seconds apart."""

    def __init__(self, book: HostBook, per_host: int, delay: float, agent: str) -> None:
        self._book = book
        self._per_host = per_host
        self._delay = delay
        self._agent = agent
        self._semaphores: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def enter(self, url: URL) -> AsyncIterator[None]:
        """Waits for a place at the host of `url` and holds it for the block."""
        semaphore = self._semaphores.setdefault(str(url.origin()), asyncio.Semaphore(self._per_host))
        async with semaphore:
            await self._await_turn(self._book.of(url))
            yield

    def pause(self, url: URL, seconds: float) -> None:
        """Keeps every request to this host back for `seconds`, as it asked by Retry-After."""
        state = self._book.of(url)
        state.next_start = max(state.next_start, time.monotonic() + seconds)

    async def _await_turn(self, state: HostState) -> None:
        while True:
            now = time.monotonic()
            if state.next_start <= now:
                crawl_delay = state.rules.crawl_delay(self._agent) if state.rules else 0.0
                state.next_start = now + max(self._delay, crawl_delay)
                return
            await asyncio.sleep(state.next_start - now)
