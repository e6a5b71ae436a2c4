"""Interprets a response or a network error: reason, redirect target, Retry-After."""

from __future__ import annotations

import email.utils
import re
import socket
import ssl
import time
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from x2i.crawl.http.guard import parse_url
from x2i.crawl.http.outcome import FetchError
from x2i.reasons import DroppedError, Reason

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_RETRY_AFTER = 10.0**9


def redirect_target(url: URL, response: aiohttp.ClientResponse) -> URL:
    """Returns the absolute URL that a redirect from `url` leads to, of whatever scheme. Raises FetchError."""
    location = response.headers.get("Location", "")
    if not location:
        raise FetchError(Reason.HTTP_CLIENT_ERROR, f"{response.status} without Location", response.status)
    try:
        return parse_url(urljoin(str(url), location))
    except (DroppedError, ValueError) as error:
        raise FetchError(Reason.BAD_URL, f"redirect to {location[:100]!r}", response.status) from error


def require_success(response: aiohttp.ClientResponse) -> None:
    """Raises FetchError unless the status is one of success."""
    status = response.status
    if 200 <= status < 300:
        return
    detail = f"{status} {response.reason or ''}".strip()[:200]
    if status == 429:
        raise FetchError(Reason.HTTP_RATE_LIMITED, detail, status, retry_after=retry_after(response))
    if 500 <= status < 600:
        wait = retry_after(response) if status == 503 else 0.0
        raise FetchError(Reason.HTTP_SERVER_ERROR, detail, status, retry_after=wait)
    raise FetchError(Reason.HTTP_CLIENT_ERROR, detail, status)


def retry_after(response: aiohttp.ClientResponse) -> float:
    """Returns the seconds that a Retry-After header asks for, given as a number or a date (RFC 9110 section 10.2.3).

    0 if there is none, or none that can be read.
    """
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value[:20]), _LONGEST_RETRY_AFTER)
    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, when - time.time()), _LONGEST_RETRY_AFTER)


def network_error(error: Exception, status: int) -> FetchError:
    """Names what went wrong below HTTP. status: of the answer that had begun, 0 if none had."""
    cause = getattr(error, "os_error", error)
    words = getattr(cause, "strerror", None) or getattr(cause, "message", None) or cause
    # A memory address in a message would make two runs differ.
    detail = " ".join(re.sub(r" at 0x[0-9a-f]+", "", f"{type(error).__name__}: {words}").split())[:200]
    reason, unanswered = Reason.CONNECTION_ERROR, False
    if isinstance(error, TimeoutError):
        reason, detail = Reason.TIMEOUT, "the whole answer did not arrive in time" if status else "no answer in time"
        unanswered = True
    elif isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        reason, unanswered = Reason.DNS_ERROR, True
    elif isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        reason = Reason.TLS_ERROR
    elif isinstance(error, aiohttp.ClientOSError | aiohttp.ServerConnectionError):
        unanswered = True
    elif isinstance(error, aiohttp.ClientPayloadError):
        reason = Reason.BODY_TRUNCATED
    elif isinstance(error, aiohttp.InvalidURL | UnicodeError | ValueError):
        reason = Reason.BAD_URL
    ended = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    hung_up = ended and not isinstance(error, aiohttp.ClientConnectorError) and not status
    return FetchError(reason, detail, status, unanswered=unanswered and not status, hung_up=hung_up)
