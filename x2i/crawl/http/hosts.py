"""What a process knows about hosts: their rules, and which of them are paused."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from yarl import URL

from x2i.crawl.http.outcome import FetchDropped
from x2i.crawl.http.rate_limit import HostRateLimiter
from x2i.crawl.http.robots import RobotsRules
from x2i.crawl.http.rsl import RslTerms
from x2i.crawl.http.tdmrep import TdmReservations

MOST_HOSTS = 20_000
MOST_TERMS = 500
MOST_RULE_BYTES = 16 * 2**20
"""Of the robots.txt files whose rules are kept; parsed, they take several times that."""

_HOSTS_BETWEEN_COUNTS = 500


@dataclass
class HostState:
    """What is known of one origin. Times are on the monotonic clock, in seconds.

    refusal: what every fetch from this host ends with, without asking it, until `refused_until`.
    failures: fetches that ended without any sign of life from the host, one after the other.
    """

    rules: RobotsRules | None = None
    reservations: TdmReservations | None = None
    rules_until: float = 0.0
    reservations_until: float = 0.0
    refusal: FetchDropped | None = None
    refused_until: float = 0.0
    failures: int = 0

    def current_refusal(self) -> FetchDropped | None:
        """Returns the verdict that ends every fetch at the moment, or None if the host may be asked."""
        if self.refusal is not None and time.monotonic() >= self.refused_until:
            self.refusal = None
        return self.refusal

    def refuse(self, verdict: FetchDropped, seconds: float) -> None:
        """Leaves the host alone for `seconds`: what would be asked ends with `verdict` instead."""
        self.refusal, self.refused_until = verdict, time.monotonic() + seconds

    def note_answer(self) -> None:
        """Resets the count of failures: the host has answered something."""
        self.failures = 0

    def note_silence(self, verdict: FetchDropped, most: int, seconds: float) -> None:
        """A fetch ended without an answer; from the `most`th in a row on, the host is left alone for `seconds`.

        The count stays where it is, so that after the pause a single attempt tells whether the host is back.
        """
        self.failures += 1
        if self.failures >= most:
            self.refuse(verdict, seconds)


@dataclass(frozen=True)
class KnownTerms:
    """What a license document says, or why it cannot be had; until when, in seconds on the monotonic clock."""

    terms: RslTerms
    failure: FetchDropped | None
    until: float


@dataclass
class HostRegistry:
    """The hosts of a worker process, least recently used ones forgotten; it outlives any event loop.

    limits_folder: where the limits that hold for all processes are kept (see HostRateLimiter).
    """

    limits_folder: Path | None = None
    states: OrderedDict[str, HostState] = field(default_factory=OrderedDict)
    terms: OrderedDict[str, KnownTerms] = field(default_factory=OrderedDict)
    _limiter: HostRateLimiter | None = None
    _met: int = 0

    @property
    def limiter(self) -> HostRateLimiter:
        """The limits per host, shared with every other process of this user on this machine."""
        if self._limiter is None:
            self._limiter = HostRateLimiter(self.limits_folder)
        return self._limiter

    def state(self, url: URL) -> HostState:
        """Returns what is known of the origin of `url`."""
        origin = origin_of(url)
        state = self.states.get(origin)
        if state is None:
            state = self.states[origin] = HostState()
            self._forget()
        self.states.move_to_end(origin)
        return state

    def known_terms(self, license: URL) -> KnownTerms | None:
        """Returns what is known of a license document, None if it has to be asked for."""
        known = self.terms.get(str(license))
        return known if known is not None and time.monotonic() < known.until else None

    def keep_terms(self, license: URL, terms: RslTerms, failure: FetchDropped | None, seconds: float) -> KnownTerms:
        """Remembers a license document for `seconds`; the one that was learned first is forgotten first."""
        known = self.terms[str(license)] = KnownTerms(terms, failure, time.monotonic() + seconds)
        if len(self.terms) > MOST_TERMS:
            self.terms.popitem(last=False)
        return known

    def _forget(self) -> None:
        if len(self.states) > MOST_HOSTS:
            self.states.popitem(last=False)
        self._met += 1
        if self._met % _HOSTS_BETWEEN_COUNTS == 0:
            total = 0
            for state in reversed(self.states.values()):
                total += state.rules.size if state.rules else 0
                if total > MOST_RULE_BYTES:
                    state.rules, state.rules_until = None, 0.0


def origin_of(url: URL) -> str:
    """Returns scheme, host and port, by which limits and rules are kept; a trailing dot names no other host."""
    host = (url.raw_host or "").rstrip(".")
    return f"{url.scheme}://{host}:{url.port}"
