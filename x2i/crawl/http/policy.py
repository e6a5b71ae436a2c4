"""How a crawl behaves towards the network: every limit in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import x2i
from x2i.crawl.http.guard import AddressPolicy
from x2i.crawl.http.optout import product_token
from x2i.errors import UserError
from x2i.options import Option

_PURPOSE = f"x2i/{x2i.__version__} (image dataset builder"
DEFAULT_USER_AGENT = f"{_PURPOSE}; its operator left no contact)"


@dataclass(frozen=True)
class FetchPolicy:
    """The options of fetching; the fields after them are limits that are no options.

    connect_timeout: seconds. backoff: seconds before the first retry, doubled for each further one. max_wait: the
    longest Retry-After, in seconds, that is waited for. tdmrep: whether /.well-known/tdmrep.json is read.
    give_up_after: fetches in a row from one host without any answer, after which it is left alone; leave_alone: for how
    many seconds.
    """

    concurrency: Annotated[int, Option("Downloads at once in each worker process.", ge=1, decides=False)] = 64
    per_host: Annotated[
        int,
        Option("Requests at once to one host, by all crawls of yours on a machine together.", ge=1, decides=False),
    ] = 8
    delay: Annotated[
        float,
        Option(
            "Seconds between requests to one host, by all crawls of yours on a machine together.", ge=0, decides=False
        ),
    ] = 0.0
    timeout: Annotated[
        float, Option("Seconds for one attempt, from connecting to the last byte.", gt=0, decides=False)
    ] = 30.0
    max_bytes: Annotated[int, Option("Largest download, in bytes, decompressed.", ge=1)] = 32 * 1024 * 1024
    retries: Annotated[
        int, Option("Further attempts after a transient failure (5xx, timeouts).", ge=0, decides=False)
    ] = 2
    allow_net: Annotated[
        tuple[str, ...], Option("A non-public network to allow, such as 127.0.0.0/8; may be repeated.")
    ] = ()
    ignore_robots: Annotated[bool, Option("Do not read robots.txt. All other opt-outs still apply.")] = False
    user_agent: Annotated[str, Option("Who you are; its first word is the name that robots.txt may address.")] = (
        DEFAULT_USER_AGENT
    )
    contact: Annotated[
        str,
        Option("How site owners reach you: URL of a page about your crawl, or e-mail address.", decides=False),
    ] = ""
    retry_failed: Annotated[
        bool, Option("Fetch again what failed for a transient reason; keep all else.", decides=False)
    ] = False

    connect_timeout: float = 10.0
    max_redirects: int = 5
    backoff: float = 0.5
    max_wait: float = 60.0
    tdmrep: bool = True
    give_up_after: int = 5
    leave_alone: float = 600.0

    def __post_init__(self) -> None:
        """Raises UserError for what bounds do not express."""
        for name in ("user_agent", "contact"):
            value = getattr(self, name)
            if not value.isprintable() or not value.isascii():
                raise UserError(f"crawl: {name}: expected printable ASCII, found {value!r}")
        if not self.product_token:
            raise UserError(
                f"crawl: user_agent: expected a name such as 'MyLab/1 (+https://...)', found {self.user_agent!r}"
            )
        AddressPolicy.parse(self.allow_net)

    @property
    def product_token(self) -> str:
        """The name by which robots.txt, headers and meta tags address this crawler."""
        return product_token(self.user_agent)

    @property
    def is_anonymous(self) -> bool:
        """Whether site owners have no way to reach the operator."""
        return self.user_agent == DEFAULT_USER_AGENT and not self.contact

    @property
    def user_agent_header(self) -> str:
        """`user_agent` with a way to reach its operator: "(+URL)", as site owners know it from other crawlers."""
        if not self.contact:
            return self.user_agent
        if self.user_agent == DEFAULT_USER_AGENT:
            return f"{_PURPOSE}; +{self.contact})"
        return f"{self.user_agent} (+{self.contact})"
