"""How a crawl behaves towards the network: every limit in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

import x2i

_PURPOSE = f"x2i/{x2i.__version__} (image dataset builder"
DEFAULT_USER_AGENT = f"{_PURPOSE}; its operator left no contact)"


def user_agent_with_contact(user_agent: str, contact: str) -> str:
    """Returns `user_agent` with a way to reach its operator: "(+URL)", as site owners know it from other crawlers."""
    if not contact:
        return user_agent
    return f"{_PURPOSE}; +{contact})" if user_agent == DEFAULT_USER_AGENT else f"{user_agent} (+{contact})"


@dataclass(frozen=True)
class FetchPolicy:
    """user_agent: sent as it is; its first word is the name that robots.txt may address.
    concurrency: bodies held at once; per_host: requests at once to one origin; delay: seconds between their starts.
    timeout, connect_timeout: seconds for one attempt as a whole, and for connecting.
    max_bytes: of one body, decompressed. retries: further attempts after a passing failure.
    max_wait: the longest Retry-After, in seconds, that is waited for. allow_net: networks open beside the public ones.
    obey_robots, tdmrep: whether robots.txt and /.well-known/tdmrep.json are read, each once per host and day.
    give_up_after: fetches from one host, one after the other, without any answer, after which it is left alone;
    leave_alone: for how many seconds.
    """

    user_agent: str = DEFAULT_USER_AGENT
    concurrency: int = 64
    per_host: int = 8
    delay: float = 0.0
    timeout: float = 30.0
    connect_timeout: float = 10.0
    max_bytes: int = 32 * 1024 * 1024
    max_redirects: int = 5
    retries: int = 2
    backoff: float = 0.5
    max_wait: float = 60.0
    allow_net: tuple[str, ...] = ()
    obey_robots: bool = True
    tdmrep: bool = True
    give_up_after: int = 5
    leave_alone: float = 600.0
