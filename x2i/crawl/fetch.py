"""Fetching one URL over HTTP: robots.txt first, redirects hop by hop, retries, budgets; every end is a value."""

from __future__ import annotations

import asyncio
import email.utils
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
from yarl import URL

from x2i.crawl.body import ACCEPT_ENCODING, read_body
from x2i.crawl.guard import AddressPolicy, GuardedResolver, parse_url, require_fetchable
from x2i.crawl.hosts import HostBook, HostGates
from x2i.crawl.optout import header_opt_out, product_token
from x2i.crawl.policy import FetchPolicy
from x2i.crawl.robots import MAX_ROBOTS_BYTES, RobotsRules
from x2i.reasons import Dropped, DroppedError, Reason
from x2i.seeding import unit_interval

LARGE_BODY = 4 * 1024 * 1024
LARGE_BODIES_AT_ONCE = 8
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PASSING_REASONS = frozenset(
    {
        Reason.DNS_ERROR,
        Reason.CONNECTION_ERROR,
        Reason.TIMEOUT,
        Reason.BODY_TRUNCATED,
        Reason.HTTP_RATE_LIMITED,
        Reason.HTTP_SERVER_ERROR,
    }
)
"""Reasons that another attempt, now or another day, may not meet."""


@dataclass(frozen=True)
class Fetched:
    """A body that arrived whole. url: where it came from in the end, after redirects."""

    data: bytes
    url: str
    http_status: int
    content_type: str
    charset: str | None


@dataclass(frozen=True)
class FetchDropped(Dropped):
    """Why there is no body, with the last HTTP status (0: none was received) and the opt-out signal, if any."""

    http_status: int = 0
    opt_out: str = ""


class _FetchError(DroppedError):
    """Ends a fetch. retry_after: seconds the host asked for."""

    def __init__(self, reason: Reason, detail: str, status: int = 0, opt_out: str = "", retry_after: float = 0) -> None:
        super().__init__(reason, detail)
        self.verdict = FetchDropped(reason, detail, status, opt_out)
        self.retry_after = retry_after


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
        self._bodies = asyncio.Semaphore(policy.concurrency)
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES_AT_ONCE)
        self._robots_locks: dict[str, asyncio.Lock] = {}
        self._robots_failures: dict[str, Dropped] = {}

    async def __aenter__(self) -> Fetcher:
        connector = aiohttp.TCPConnector(limit=0, resolver=GuardedResolver(self._addresses), ttl_dns_cache=600)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self.policy.user_agent, "Accept-Encoding": ACCEPT_ENCODING},
            timeout=aiohttp.ClientTimeout(total=self.policy.timeout, connect=self.policy.connect_timeout),
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def get(self, url: str, accept: str = "image/*") -> AsyncIterator[Fetched | FetchDropped]:
        """Fetches `url` within every limit of the policy and yields what became of it."""
        async with AsyncExitStack() as held:
            try:
                outcome: Fetched | FetchDropped = await self._follow(parse_url(url), accept, held)
            except DroppedError as error:
                outcome = _as_fetch_dropped(error.verdict)
            yield outcome

    async def _follow(self, url: URL, accept: str, held: AsyncExitStack) -> Fetched:
        for _ in range(self.policy.max_redirects + 1):
            require_fetchable(url, self._addresses)
            if self.policy.obey_robots:
                await self._require_robots(url)
            answer = await self._persist(url, accept, self.policy.max_bytes, held)
            if isinstance(answer, Fetched):
                return answer
            url = answer
        raise _FetchError(Reason.TOO_MANY_REDIRECTS, f"more than {self.policy.max_redirects}")

    async def _require_robots(self, url: URL) -> None:
        """Raises unless the host's robots.txt allows `url`. A host that cannot give one is asked only once."""
        state, origin = self._book.of(url), str(url.origin())
        async with self._robots_locks.setdefault(origin, asyncio.Lock()):
            if known := self._robots_failures.get(origin):
                raise _FetchError(known.reason, known.detail)
            if state.rules is None:
                try:
                    state.rules = await self._fetch_robots(url.origin() / "robots.txt")
                except _FetchError as error:
                    self._robots_failures[origin] = error.verdict
                    raise
        if not state.rules.allows(str(url), self.agent):
            raise _FetchError(Reason.ROBOTS_DISALLOWED, state.rules.why or f"robots.txt disallows {url.path[:100]}")

    async def _fetch_robots(self, url: URL) -> RobotsRules:
        """Fetches and parses a robots.txt. If it cannot be reached, raises with the network's own reason."""
        async with AsyncExitStack() as held:
            try:
                for _ in range(self.policy.max_redirects + 1):
                    require_fetchable(url, self._addresses)
                    answer = await self._persist(url, "text/plain", MAX_ROBOTS_BYTES, held, is_robots=True)
                    if isinstance(answer, Fetched):
                        return RobotsRules.from_text(answer.data)
                    url = answer
            except DroppedError as error:
                verdict = _as_fetch_dropped(error.verdict)
                if verdict.reason is Reason.BODY_EMPTY:
                    return RobotsRules.from_text(b"")
                rules = RobotsRules.from_status(verdict.http_status) if verdict.http_status else None
                if rules is not None:
                    return rules
                raise _FetchError(verdict.reason, f"robots.txt: {verdict.detail}") from error
        return RobotsRules(everything=True, why="robots.txt redirects without end")

    async def _persist(
        self, url: URL, accept: str, max_bytes: int, held: AsyncExitStack, *, is_robots: bool = False
    ) -> Fetched | URL:
        """One hop, tried again after a passing failure, with the same jitter in every run."""
        for attempt in range(self.policy.retries + 1):
            try:
                return await self._exchange(url, accept, max_bytes, held, is_robots)
            except _FetchError as error:
                wait = error.retry_after
                if wait > self.policy.max_wait or attempt == self.policy.retries:
                    raise
                if error.verdict.reason not in PASSING_REASONS:
                    raise
            if wait:
                self._gates.pause(url, wait)
            else:
                spread = 0.5 + unit_interval("backoff", str(url), attempt)
                await asyncio.sleep(self.policy.backoff * 2**attempt * spread)
        raise AssertionError("the last attempt returns or raises")

    async def _exchange(
        self, url: URL, accept: str, max_bytes: int, held: AsyncExitStack, is_robots: bool
    ) -> Fetched | URL:
        """One request. On success the body's place in the memory budget stays held in `held`."""
        async with AsyncExitStack() as mine:
            async with self._gates.enter(url):
                await mine.enter_async_context(self._bodies)
                answer = await self._request(url, accept, max_bytes, mine, is_robots)
            if isinstance(answer, Fetched):
                held.push_async_exit(mine.pop_all())
            return answer

    async def _request(
        self, url: URL, accept: str, max_bytes: int, mine: AsyncExitStack, is_robots: bool
    ) -> Fetched | URL:
        is_large = False

        async def reserve(size: int) -> None:
            nonlocal is_large
            if size > LARGE_BODY and not is_large:
                is_large = True
                await mine.enter_async_context(self._large_bodies)

        status = 0
        try:
            async with self._session.get(url, allow_redirects=False, headers={"Accept": accept}) as response:
                status = response.status
                if status in REDIRECTS:
                    return _redirect_target(url, response)
                _require_success(response)
                signal = "" if is_robots else header_opt_out(response.headers, self.agent)
                if signal:
                    raise _FetchError(Reason.OPT_OUT, signal, status, signal)
                data = await read_body(response, max_bytes, reserve, cut=is_robots)
                return Fetched(data, str(response.url), status, response.content_type, response.charset)
        except _FetchError:
            raise
        except DroppedError as error:
            raise _FetchError(error.verdict.reason, error.verdict.detail, status) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _network_error(error, status) from error


def _redirect_target(url: URL, response: aiohttp.ClientResponse) -> URL:
    location = response.headers.get("Location", "")
    if not location:
        raise _FetchError(Reason.HTTP_CLIENT_ERROR, f"{response.status} without Location", response.status)
    try:
        return url.join(URL(location)).with_fragment(None)
    except ValueError as error:
        raise _FetchError(Reason.BAD_URL, f"redirect to {location[:100]!r}", response.status) from error


def _require_success(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    detail = f"{status} {response.reason or ''}".strip()
    if status == 429:
        raise _FetchError(Reason.HTTP_RATE_LIMITED, detail, status, retry_after=_retry_after(response))
    if status >= 500:
        wait = _retry_after(response) if status == 503 else 0.0
        raise _FetchError(Reason.HTTP_SERVER_ERROR, detail, status, retry_after=wait)
    raise _FetchError(Reason.HTTP_CLIENT_ERROR, detail, status)


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Returns the seconds that a Retry-After header asks for, given as a number or a date (RFC 9110 section 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(min(int(value), 10**9))
    parsed = email.utils.parsedate_tz(value) if value else None
    return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed else 0.0


def _network_error(error: Exception, status: int) -> _FetchError:
    """Names what went wrong below HTTP."""
    cause = getattr(error, "os_error", error)
    words = getattr(cause, "strerror", None) or str(cause)
    # A memory address in a message would make two runs differ.
    detail = re.sub(r" at 0x[0-9a-f]+", "", f"{type(error).__name__}: {words}")[:200]
    reason = Reason.CONNECTION_ERROR
    if isinstance(error, TimeoutError):
        reason, detail = Reason.TIMEOUT, "the whole answer did not arrive in time" if status else "no answer in time"
    elif isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        reason = Reason.DNS_ERROR
    elif isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        reason = Reason.TLS_ERROR
    elif isinstance(error, aiohttp.ClientPayloadError):
        reason = Reason.BODY_TRUNCATED
    elif isinstance(error, aiohttp.InvalidURL | UnicodeError | ValueError):
        reason = Reason.BAD_URL
    return _FetchError(reason, detail, status)


def _as_fetch_dropped(verdict: Dropped) -> FetchDropped:
    if isinstance(verdict, FetchDropped):
        return verdict
    return replace(FetchDropped(verdict.reason), detail=verdict.detail)
