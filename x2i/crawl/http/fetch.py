"""Fetching one URL over HTTP: permission first, redirects hop by hop, retries, budgets; every end is a value."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from yarl import URL

from x2i.crawl.http.body import ACCEPT_ENCODING, read_body
from x2i.crawl.http.gates import HostGates
from x2i.crawl.http.guard import AddressPolicy, parse_url, require_fetchable
from x2i.crawl.http.hosts import HostBook
from x2i.crawl.http.optout import header_opt_out, product_token
from x2i.crawl.http.outcome import PASSING_REASONS, FetchDropped, Fetched, FetchError, Redirect, as_fetch_dropped
from x2i.crawl.http.permission import Permissions
from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.http.resolver import GuardedResolver
from x2i.crawl.http.response import REDIRECTS, network_error, redirect_target, require_success
from x2i.reasons import DroppedError, Reason
from x2i.seeding import unit_interval

LARGE_BODY = 4 * 1024 * 1024
LARGE_BODIES_AT_ONCE = 8
_DNS_KEPT = 600


class Fetcher:
    """An HTTP client for one run of an event loop; `book` keeps what was learnt about hosts beyond it.

    Used as `async with Fetcher(policy, book) as fetcher: async with fetcher.get(url) as outcome: ...`. The body in
    `outcome` counts against the memory budget (at most `concurrency` bodies, few of them large) until its block ends.
    """

    def __init__(self, policy: FetchPolicy, book: HostBook | None = None) -> None:
        self.policy = policy
        self.agent = product_token(policy.user_agent)
        self._book = book or HostBook()
        self._addresses = AddressPolicy.parse(policy.allow_net)
        self._gates = HostGates(self._book, policy.per_host, policy.delay, self.agent)
        self._permissions = Permissions(policy, self.agent, self._book, self._fetch_file)
        self._bodies = asyncio.Semaphore(policy.concurrency)
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES_AT_ONCE)

    async def __aenter__(self) -> Fetcher:
        self._connector = aiohttp.TCPConnector(
            limit=0, resolver=GuardedResolver(self._addresses), ttl_dns_cache=_DNS_KEPT
        )
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_teller(self._gates))
        self._session = self._open_session(self._connector, [])
        self._timed_session = self._open_session(self._connector, [trace])
        unshared = aiohttp.TCPConnector(limit=0, force_close=True, resolver=GuardedResolver(self._addresses))
        self._unshared_session = self._open_session(unshared, [trace])
        return self

    def _open_session(
        self, connector: aiohttp.TCPConnector, traces: list[aiohttp.TraceConfig]
    ) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            connector_owner=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self.policy.user_agent, "Accept-Encoding": ACCEPT_ENCODING},
            timeout=aiohttp.ClientTimeout(total=None, connect=self.policy.connect_timeout),
            trace_configs=traces,
            trust_env=False,  # a proxy would resolve names itself, past the guard
        )

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()
        await self._timed_session.close()
        await self._unshared_session.close()
        await self._connector.close()
        if (unshared := self._unshared_session.connector) is not None:
            await unshared.close()
        # It points back at the fetcher, and a circle would hold the hosts' file open until the collector comes by.
        del self._permissions

    @asynccontextmanager
    async def get(self, url: str, accept: str = "image/*") -> AsyncIterator[Fetched | FetchDropped]:
        """Fetches `url` within every limit of the policy and yields what became of it."""
        async with AsyncExitStack() as held:
            outcome: Fetched | FetchDropped
            try:
                outcome = await self._follow(parse_url(url), accept, held, self.policy.max_bytes)
            except DroppedError as error:
                outcome = as_fetch_dropped(error.verdict)
            yield outcome

    async def get_listing(self, url: str, accept: str, max_bytes: int) -> Fetched | FetchDropped:
        """Fetches a file that only names others, such as a sitemap, or its first `max_bytes`.

        What its headers say of indexing is meant for the file itself (sitemaps commonly are "noindex"): not heeded.
        """
        async with AsyncExitStack() as held:
            try:
                return await self._follow(parse_url(url), accept, held, max_bytes, is_rules=True)
            except DroppedError as error:
                return as_fetch_dropped(error.verdict)

    async def _fetch_file(self, url: URL, accept: str, max_bytes: int) -> Fetched:
        """Fetches a file that says what a host permits, or its first `max_bytes`. Raises DroppedError."""
        async with AsyncExitStack() as held:
            return await self._follow(url, accept, held, max_bytes, is_rules=True, asks_first=False)

    async def _follow(
        self,
        url: URL,
        accept: str,
        held: AsyncExitStack,
        max_bytes: int,
        *,
        is_rules: bool = False,
        asks_first: bool = True,
    ) -> Fetched:
        """Goes from redirect to redirect, at each of which everything is checked anew. Raises DroppedError.

        is_rules: a longer body is cut, and headers about its use are not heeded. asks_first: for the host's permission.
        """
        for _ in range(self.policy.max_redirects + 1):
            require_fetchable(url, self._addresses)
            if asks_first:
                await self._permissions.require(url)
            answer = await self._persist(url, accept, max_bytes, held, is_rules)
            if isinstance(answer, Fetched):
                return answer
            url, status = answer.target, answer.http_status
        raise FetchError(Reason.TOO_MANY_REDIRECTS, f"more than {self.policy.max_redirects}", status)

    async def _persist(
        self, url: URL, accept: str, max_bytes: int, held: AsyncExitStack, is_rules: bool
    ) -> Fetched | Redirect:
        """One hop, tried again after a passing failure, with the same jitter in every run.

        What the last attempt taught about the host is kept: how long it wants to be left alone, or that it is silent.
        """
        state, policy = self._book.of(url), self.policy
        for attempt in range(policy.retries + 1):
            try:
                answer = await self._exchange(url, accept, max_bytes, held, is_rules)
                state.note_answer()
                return answer
            except FetchError as error:
                if error.verdict == state.current_refusal():
                    raise  # it asked, or another fetch found, while this one waited
                verdict, wait = error.verdict, error.retry_after
                if not error.unanswered:
                    state.note_answer()
                if wait > policy.max_wait:
                    state.refuse(verdict, min(wait, policy.leave_alone))
                    raise
                if wait:
                    await self._gates.pause(url, wait)
                if verdict.reason not in PASSING_REASONS:
                    raise
                if attempt == policy.retries:
                    if error.unanswered:
                        state.note_silence(verdict, policy.give_up_after, policy.leave_alone)
                    raise
            if not wait:
                spread = 0.5 + unit_interval("backoff", str(url), attempt)
                await asyncio.sleep(policy.backoff * 2**attempt * spread)
        raise AssertionError("the last attempt returns or raises")

    async def _exchange(
        self, url: URL, accept: str, max_bytes: int, held: AsyncExitStack, is_rules: bool
    ) -> Fetched | Redirect:
        """One request. On success the body's place in the memory budget stays held in `held`."""
        async with AsyncExitStack() as mine:
            async with self._gates.enter(url, self._bodies):
                mine.callback(self._bodies.release)
                answer = await self._request_anew(url, accept, max_bytes, mine, is_rules)
            if isinstance(answer, Fetched):
                held.push_async_exit(mine.pop_all())
            return answer

    async def _request_anew(
        self, url: URL, accept: str, max_bytes: int, mine: AsyncExitStack, is_rules: bool
    ) -> Fetched | Redirect:
        """One request; if a kept connection turns out to be closed, at once another on a connection of its own.

        Many servers close connections without saying so. That must not use up an attempt, or what a row comes to would
        depend on which connection it happened to get.
        """
        # Tracing costs every request a little, so it is done only where it matters when a request leaves.
        has_delay = self._gates.has_delay(url)
        try:
            session = self._timed_session if has_delay else self._session
            return await self._request(session, url, accept, max_bytes, mine, is_rules)
        except FetchError as error:
            if not error.hung_up or has_delay:
                raise
            return await self._request(self._unshared_session, url, accept, max_bytes, mine, is_rules)

    async def _request(
        self,
        session: aiohttp.ClientSession,
        url: URL,
        accept: str,
        max_bytes: int,
        mine: AsyncExitStack,
        is_rules: bool,
    ) -> Fetched | Redirect:
        is_large, status = False, 0
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout_at(end := loop.time() + self.policy.timeout)

        async def reserve(size: int) -> None:
            nonlocal is_large
            if size > LARGE_BODY and not is_large:
                is_large, since = True, loop.time()
                limit.reschedule(None)  # to wait for memory of ours is not the host's slowness
                await mine.enter_async_context(self._large_bodies)
                limit.reschedule(end + loop.time() - since)

        try:
            async with limit, session.get(url, allow_redirects=False, headers={"Accept": accept}) as response:
                status = response.status
                if status not in REDIRECTS:
                    require_success(response)
                signal = "" if is_rules else header_opt_out(response.headers, self.agent)
                if signal:
                    raise FetchError(Reason.OPT_OUT, signal, status, signal)
                if status in REDIRECTS:
                    return Redirect(redirect_target(url, response), status)
                data = await read_body(response, max_bytes, reserve, cut=is_rules)
                kept = response.headers.get("Cache-Control", "")
                return Fetched(data, str(response.url), status, response.content_type, response.charset, kept)
        except FetchError:
            raise
        except DroppedError as error:
            raise FetchError(error.verdict.reason, error.verdict.detail, status) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise network_error(error, status) from error


def _teller(gates: HostGates) -> Callable[..., Awaitable[None]]:
    """Returns what tells `gates` that a request has left. aiohttp's tracing is a circle: it may not hold them."""
    reference = weakref.ref(gates)

    async def on_sent(_session: object, _context: object, request: aiohttp.TraceRequestHeadersSentParams) -> None:
        if (alive := reference()) is not None:
            await alive.sent(request.url)

    return on_sent
