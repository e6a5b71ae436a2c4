"""Outcomes of a fetch: a body, or the reason why there is none; of one hop also what to ask for next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from yarl import URL

from x2i.reasons import Dropped, DroppedError, Reason

TRANSIENT_REASONS = frozenset(
    {
        Reason.DNS_ERROR,
        Reason.CONNECTION_ERROR,
        Reason.TIMEOUT,
        Reason.BODY_TRUNCATED,
        Reason.HTTP_RATE_LIMITED,
        Reason.HTTP_SERVER_ERROR,
    }
)
"""Reasons for which another attempt, now or later, may succeed."""


@dataclass(frozen=True)
class Fetched:
    """A body that arrived whole. url: where it came from in the end, after redirects."""

    data: bytes
    url: str
    http_status: int
    content_type: str
    charset: str | None
    cache_control: str = ""


@dataclass(frozen=True)
class Redirect:
    """The answer of a hop that leads on to `target`."""

    target: URL
    http_status: int


@dataclass(frozen=True)
class Licensed:
    """The answer of a hop whose license documents must be read before its body."""

    licenses: tuple[URL, ...]
    http_status: int


@dataclass(frozen=True)
class FetchDropped(Dropped):
    """Why there is no body, with the opt-out signal, if any, and the HTTP status of the address at which the fetch
    ended, after redirects (0: it gave no answer, or was not to be asked).
    """

    http_status: int = 0
    opt_out: str = ""


class FetchError(DroppedError):
    """Ends a fetch. retry_after: seconds the host asked for. unanswered: the host gave no sign of life at all. hung_up:
    it closed the connection instead of answering, as it would one that was kept for too long.
    """

    verdict: FetchDropped

    def __init__(
        self,
        reason: Reason,
        detail: str,
        status: int = 0,
        opt_out: str = "",
        retry_after: float = 0.0,
        unanswered: bool = False,
        hung_up: bool = False,
    ) -> None:
        super().__init__(reason, detail)
        self.verdict = FetchDropped(reason, detail, status, opt_out)
        self.retry_after = retry_after
        self.unanswered = unanswered
        self.hung_up = hung_up

    @classmethod
    def of(cls, verdict: FetchDropped) -> FetchError:
        """Returns the error that ends a fetch with `verdict`."""
        return cls(verdict.reason, verdict.detail, verdict.http_status, verdict.opt_out)


def as_fetch_dropped(verdict: Dropped) -> FetchDropped:
    """Returns `verdict` as the end of a fetch that received no answer, unless it says otherwise itself."""
    if isinstance(verdict, FetchDropped):
        return verdict
    return replace(FetchDropped(verdict.reason), detail=verdict.detail)
