"""Whether a host permits a fetch: robots.txt, tdmrep.json, and the license documents it names, cached for a while."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urljoin

from yarl import URL

from x2i.crawl.http.guard import parse_url
from x2i.crawl.http.hosts import HostRegistry, HostState, KnownTerms, origin_of
from x2i.crawl.http.outcome import TRANSIENT_REASONS, Fetched, FetchError, as_fetch_dropped
from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.http.robots import MAX_ROBOTS_BYTES, RobotsRules
from x2i.crawl.http.rsl import MAX_RSL_BYTES, MEDIA_TYPE, RslTerms
from x2i.crawl.http.tdmrep import MAX_TDMREP_BYTES, TDMREP_PATH, TdmReservations
from x2i.reasons import DroppedError, Reason

SHORTEST_KEPT, LONGEST_KEPT = 60.0, 86_400.0
"""Seconds that the rules of a host are kept, whatever its Cache-Control says; RFC 9309 asks for at most a day."""
_MAX_AGE = re.compile(r"\bmax-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)

FetchFile = Callable[[URL, str, int], Awaitable[Fetched]]
"""Fetches a small file of a host: URL, Accept header, most bytes; what lies beyond these is cut off."""


class PermissionChecker:
    """Checks for each URL whether its host permits fetching it for training."""

    def __init__(self, policy: FetchPolicy, agent: str, hosts: HostRegistry, fetch: FetchFile) -> None:
        self._policy = policy
        self._agent = agent
        self._hosts = hosts
        self._fetch = fetch
        self._locks: dict[str, asyncio.Lock] = {}

    async def check(self, url: URL) -> None:
        """Raises FetchError unless `url` may be fetched: its rules are fetched once and cached.

        ROBOTS_DISALLOWED; OPT_OUT by a usage line of robots.txt, by tdmrep.json or by a license that robots.txt names;
        or, with the reason for which robots.txt or the license could not be had, any that the network gives: a host
        whose robots.txt fails is left alone.
        """
        state = self._hosts.state(url)
        async with self._locks.setdefault(origin_of(url), asyncio.Lock()):
            if refusal := state.current_refusal():
                raise FetchError.of(refusal)
            if not self._policy.ignore_robots:
                await self._learn_rules(url, state)
                _require_rules(url, state, self._agent)
            if self._policy.tdmrep:
                await self._learn_reservations(url, state)
            if refusal := state.current_refusal():
                raise FetchError.of(refusal)
        signal = state.reservations.opt_out(str(url)) if state.reservations else ""
        if signal:
            raise FetchError(Reason.OPT_OUT, signal, opt_out=signal)
        if state.rules is not None and not self._policy.ignore_robots:
            await self.require_terms(url, license_urls(url.origin() / "robots.txt", state.rules.licenses))

    async def require_terms(self, url: URL, licenses: Sequence[URL]) -> None:
        """Raises FetchError if a license document refuses training on `url`, or cannot be had for now."""
        for license in licenses:
            async with self._locks.setdefault(f"license {license}", asyncio.Lock()):
                known = self._hosts.known_terms(license) or await self._fetch_terms(license)
            if known.failure is not None:
                raise FetchError.of(known.failure)
            if signal := known.terms.opt_out(str(url)):
                raise FetchError(Reason.OPT_OUT, signal, opt_out=signal)

    def knows_terms(self, licenses: Sequence[URL]) -> bool:
        """Whether every one of these license documents has been read."""
        return all(self._hosts.known_terms(license) for license in licenses)

    async def _fetch_terms(self, license: URL) -> KnownTerms:
        """Reads a license document. One that is not there states no terms; one that fails for now fails its images."""
        try:
            answer = await self._fetch(license, f"{MEDIA_TYPE}, application/xml;q=0.9", MAX_RSL_BYTES)
        except DroppedError as error:
            verdict = as_fetch_dropped(error.verdict)
            if verdict.reason not in TRANSIENT_REASONS:
                return self._hosts.keep_terms(license, RslTerms(), None, LONGEST_KEPT)
            detail = f"license {license}: {verdict.detail}"[:200]
            failure = FetchError(verdict.reason, detail, verdict.http_status).verdict
            return self._hosts.keep_terms(license, RslTerms(), failure, self._policy.leave_alone)
        return self._hosts.keep_terms(license, RslTerms.from_xml(answer.data), None, _kept_for(answer))

    async def _learn_rules(self, url: URL, state: HostState) -> None:
        if state.rules is not None and time.monotonic() < state.rules_until:
            return
        try:
            state.rules, kept = await self._fetch_rules(url.origin() / "robots.txt")
        except FetchError as error:
            state.refuse(error.verdict, self._policy.leave_alone)
            raise
        state.rules_until = time.monotonic() + kept

    async def _fetch_rules(self, url: URL) -> tuple[RobotsRules, float]:
        """Fetches and parses a robots.txt; returns its rules and for how many seconds they hold.

        A host that answers 4xx has none (RFC 9309 section 2.3.1.3). One that answers 429 or 5xx, or cannot be reached,
        permits nothing for now: raises FetchError with the reason.
        """
        try:
            answer = await self._fetch(url, "text/plain", MAX_ROBOTS_BYTES)
        except DroppedError as error:
            verdict = as_fetch_dropped(error.verdict)
            if verdict.reason is Reason.BODY_EMPTY:
                return RobotsRules.from_text(b""), LONGEST_KEPT
            if verdict.reason is Reason.TOO_MANY_REDIRECTS:
                return RobotsRules(everything=True, why="robots.txt redirects without end"), LONGEST_KEPT
            rules = RobotsRules.from_status(verdict.http_status) if verdict.http_status else None
            if rules is not None and rules.everything:
                return rules, LONGEST_KEPT
            detail = f"robots.txt: {verdict.detail}"
            raise FetchError(verdict.reason, detail, verdict.http_status) from error
        return RobotsRules.from_text(answer.data), _kept_for(answer)

    async def _learn_reservations(self, url: URL, state: HostState) -> None:
        """Fetches tdmrep.json, unless robots.txt closes it; if it is missing or cannot be had, nothing is reserved."""
        if state.reservations is not None and time.monotonic() < state.reservations_until:
            return
        address = url.origin().join(URL(TDMREP_PATH))
        kept = LONGEST_KEPT
        state.reservations = TdmReservations()
        if state.rules is None or state.rules.allows(str(address), self._agent):
            try:
                answer = await self._fetch(address, "application/json", MAX_TDMREP_BYTES)
                state.reservations, kept = TdmReservations.from_json(answer.data), _kept_for(answer)
            except DroppedError as error:
                if error.verdict.reason in TRANSIENT_REASONS:
                    kept = self._policy.leave_alone
        state.reservations_until = time.monotonic() + kept


def _require_rules(url: URL, state: HostState, agent: str) -> None:
    rules = state.rules
    if rules is None:
        return
    if not rules.allows(str(url), agent):
        raise FetchError(Reason.ROBOTS_DISALLOWED, rules.why or f"robots.txt disallows {url.path[:100]}")
    if signal := rules.opt_out(str(url), agent):
        raise FetchError(Reason.OPT_OUT, signal, opt_out=signal)


def license_urls(base: URL, targets: Sequence[str]) -> list[URL]:
    """Returns the license documents that `targets` name, relative to `base`; what is no web address is left out."""
    found = []
    for target in targets:
        try:
            found.append(parse_url(urljoin(str(base), target)))
        except (DroppedError, ValueError):
            continue
    return found


def _kept_for(answer: Fetched) -> float:
    """Returns how many seconds an answer may be used again, by its Cache-Control."""
    found = _MAX_AGE.search(answer.cache_control)
    return min(max(float(found[1]), SHORTEST_KEPT), LONGEST_KEPT) if found else LONGEST_KEPT
