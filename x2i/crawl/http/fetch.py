"""Fetching one URL over HTTP: permission first, redirects hop by hop, retries, budgets; every end is a value."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from x2i.crawl.http.body import ACCEPT_ENCODING, read_body
from x2i.crawl.http.guard import AddressPolicy, parse_url, require_fetchable
from x2i.crawl.http.hosts import HostRegistry
from x2i.crawl.http.optout import header_opt_out
from x2i.crawl.http.outcome import (
    TRANSIENT_REASONS,
    FetchDropped,
    Fetched,
    FetchError,
    Licensed,
    Redirect,
    as_fetch_dropped,
)
from x2i.crawl.http.permission import PermissionChecker, license_urls
from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.http.resolver import GuardedResolver
from x2i.crawl.http.response import REDIRECTS, network_error, redirect_target, require_success
from x2i.crawl.http.rsl import header_licenses
from x2i.crawl.http.throttle import HostThrottle
from x2i.reasons import DroppedError, Reason
from x2i.seeding import unit_interval

LARGE_BODY = 4 * 1024 * 1024
LARGE_BODIES_AT_ONCE = 8
_DNS_KEPT = 600


@dataclass(frozen=True)
class _Request:
    """What is asked of a URL and of each URL it redirects to.

    is_listing: for a file that only names or permits others, such as a sitemap: a longer body is cut after `max_bytes`,
    and headers about its use are ignored, since they speak of the file itself. check_permission: ask robots.txt first.
    """

    accept: str
    max_bytes: int
    is_listing: bool = False
    check_permission: bool = True


class Fetcher:
    """An HTTP client for one run of an event loop; `hosts` keeps what was learnt about them beyond it.

    Used as `async with Fetcher(policy, hosts) as fetcher: async with fetcher.get(url) as outcome: ...`. The body in
    `outcome` counts against the memory budget (at most `concurrency` bodies, few of them large) until its block ends.
    """

    def __init__(self, policy: FetchPolicy, hosts: HostRegistry | None = None) -> None:
        self.policy = policy
        self.agent = policy.product_token
        self._hosts = hosts or HostRegistry()
        self._addresses = AddressPolicy.parse(policy.allow_net)
        self._throttle = HostThrottle(self._hosts, policy.per_host, policy.delay, self.agent)
        self._permissions = PermissionChecker(policy, self.agent, self._hosts, self._fetch_rules)
        self._bodies = asyncio.Semaphore(policy.concurrency)
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES_AT_ONCE)

    async def __aenter__(self) -> Fetcher:
        self._connector = aiohttp.TCPConnector(
            limit=0, resolver=GuardedResolver(self._addresses), ttl_dns_cache=_DNS_KEPT
        )
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_report_sent(self._throttle))
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
            headers={"User-Agent": self.policy.user_agent_header, "Accept-Encoding": ACCEPT_ENCODING},
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
        # It refers back to the fetcher; the cycle would keep the file of the rate limits open until garbage collection.
        del self._permissions

    @asynccontextmanager
    async def get(self, url: str, accept: str = "image/*") -> AsyncIterator[Fetched | FetchDropped]:
        """Fetches `url` within every limit of the policy and yields the body, or why there is none."""
        async with AsyncExitStack() as held:
            outcome: Fetched | FetchDropped
            try:
                outcome = await self._follow(parse_url(url), _Request(accept, self.policy.max_bytes), held)
            except DroppedError as error:
                outcome = as_fetch_dropped(error.verdict)
            yield outcome

    async def get_listing(self, url: str, accept: str, max_bytes: int) -> Fetched | FetchDropped:
        """Fetches a file that only names others, such as a sitemap, or its first `max_bytes`.

        What its headers say of indexing (sitemaps commonly are "noindex") is meant for the file itself and ignored.
        """
        async with AsyncExitStack() as held:
            try:
                return await self._follow(parse_url(url), _Request(accept, max_bytes, is_listing=True), held)
            except DroppedError as error:
                return as_fetch_dropped(error.verdict)

    async def require_terms(self, url: str, licenses: Sequence[str]) -> None:
        """Raises FetchError if one of the license documents refuses training on `url`, or cannot be had for now."""
        address = parse_url(url)
        await self._permissions.require_terms(address, license_urls(address, licenses))

    async def _fetch_rules(self, url: URL, accept: str, max_bytes: int) -> Fetched:
        """Fetches a file that says what a host permits, or its first `max_bytes`. Raises DroppedError."""
        async with AsyncExitStack() as held:
            request = _Request(accept, max_bytes, is_listing=True, check_permission=False)
            return await self._follow(url, request, held)

    async def _follow(self, url: URL, request: _Request, held: AsyncExitStack) -> Fetched:
        """Follows redirects; every check is made again at each. Raises DroppedError.

        A license document that an answer names is read first, and the answer then asked for again: its body must not
        wait in memory for another host.
        """
        for _ in range(self.policy.max_redirects + 1):
            require_fetchable(url, self._addresses)
            if request.check_permission:
                await self._permissions.check(url)
            answer = await self._retry(url, request, held)
            if isinstance(answer, Fetched):
                return answer
            status = answer.http_status
            if isinstance(answer, Redirect):
                url = answer.target
            else:
                await self._permissions.require_terms(url, answer.licenses)
        raise FetchError(Reason.TOO_MANY_REDIRECTS, f"more than {self.policy.max_redirects}", status)

    async def _retry(self, url: URL, request: _Request, held: AsyncExitStack) -> Fetched | Redirect | Licensed:
        """Makes one hop, and tries again after a transient failure, with the same jitter in every run.

        What the last attempt taught about the host is kept: how long it wants to be left alone, or that it is silent.
        """
        state, policy = self._hosts.state(url), self.policy
        for attempt in range(policy.retries + 1):
            try:
                answer = await self._send(url, request, held)
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
                    await self._throttle.pause(url, wait)
                if verdict.reason not in TRANSIENT_REASONS:
                    raise
                if attempt == policy.retries:
                    if error.unanswered:
                        state.note_silence(verdict, policy.give_up_after, policy.leave_alone)
                    raise
            if not wait:
                spread = 0.5 + unit_interval("backoff", str(url), attempt)
                await asyncio.sleep(policy.backoff * 2**attempt * spread)
        raise AssertionError("the last attempt returns or raises")

    async def _send(self, url: URL, request: _Request, held: AsyncExitStack) -> Fetched | Redirect | Licensed:
        """Sends one request within the limits of its host; `held` releases the memory budget of a body in the end.

        If a kept connection turns out to be closed, the request is sent again at once on a connection of its own: many
        servers close connections without notice. That must not use up an attempt, or a row's outcome would depend on
        which connection it happened to get.
        """
        async with AsyncExitStack() as mine:
            async with self._throttle.slot(url, self._bodies):
                mine.callback(self._bodies.release)
                # Tracing costs every request a little, so it is done only where it matters when a request leaves.
                has_delay = self._throttle.has_delay(url)
                try:
                    session = self._timed_session if has_delay else self._session
                    answer = await self._exchange(session, url, request, mine)
                except FetchError as error:
                    if not error.hung_up or has_delay:
                        raise
                    answer = await self._exchange(self._unshared_session, url, request, mine)
            if isinstance(answer, Fetched):
                held.push_async_exit(mine.pop_all())
            return answer

    async def _exchange(
        self, session: aiohttp.ClientSession, url: URL, request: _Request, mine: AsyncExitStack
    ) -> Fetched | Redirect | Licensed:
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
            async with limit, session.get(url, allow_redirects=False, headers={"Accept": request.accept}) as response:
                status = response.status
                if status not in REDIRECTS:
                    require_success(response)
                signal = "" if request.is_listing else header_opt_out(response.headers, self.agent)
                if signal:
                    raise FetchError(Reason.OPT_OUT, signal, status, signal)
                licenses = () if request.is_listing else header_licenses(response.headers)
                if licenses:
                    named = license_urls(url, licenses)
                    if not self._permissions.knows_terms(named):
                        return Licensed(tuple(named), status)
                    await self._permissions.require_terms(url, named)
                if status in REDIRECTS:
                    return Redirect(redirect_target(url, response), status)
                data = await read_body(response, request.max_bytes, reserve, cut=request.is_listing)
                kept = response.headers.get("Cache-Control", "")
                return Fetched(data, str(response.url), status, response.content_type, response.charset, kept)
        except FetchError:
            raise
        except DroppedError as error:
            raise FetchError(error.verdict.reason, error.verdict.detail, status) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise network_error(error, status) from error


def _report_sent(throttle: HostThrottle) -> Callable[..., Awaitable[None]]:
    """Returns a trace callback that reports when a request has left; weak, since aiohttp's tracing is a cycle."""
    reference = weakref.ref(throttle)

    async def on_sent(_session: object, _context: object, request: aiohttp.TraceRequestHeadersSentParams) -> None:
        if (alive := reference()) is not None:
            await alive.mark_sent(request.url)

    return on_sent
