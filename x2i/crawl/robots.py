"""robots.txt by RFC 9309: what a host allows this crawler to fetch."""

from __future__ import annotations

from dataclasses import dataclass

from protego import Protego

MAX_ROBOTS_BYTES = 512 * 1024
"""RFC 9309 section 2.5 asks for at least 500 KiB; what stands beyond is not read."""
MAX_CRAWL_DELAY = 30.0


@dataclass(frozen=True)
class RobotsRules:
    """The rules of one origin. `parsed` is None where one answer holds for every path: `everything`, because `why`."""

    parsed: Protego | None = None
    everything: bool = True
    why: str = ""

    @classmethod
    def from_text(cls, data: bytes) -> RobotsRules:
        """Parses the first 512 KiB of a robots.txt; unreadable lines are passed over, as the RFC says."""
        if len(data) >= MAX_ROBOTS_BYTES:
            data = data[:MAX_ROBOTS_BYTES].rpartition(b"\n")[0]
        text = data.decode("utf-8-sig", errors="replace")
        return cls(parsed=Protego.parse(text))

    @classmethod
    def from_status(cls, status: int) -> RobotsRules | None:
        """Returns the rules that a status stands for, or None if the body counts (RFC 9309 section 2.3.1)."""
        if 200 <= status < 300:
            return None
        if 500 <= status < 600:
            return cls(everything=False, why=f"robots.txt answered {status}")
        return cls(everything=True, why=f"robots.txt answered {status}")

    def allows(self, url: str, agent: str) -> bool:
        """Whether `agent` (a product token) may fetch `url`."""
        return self.everything if self.parsed is None else bool(self.parsed.can_fetch(url, agent))

    def crawl_delay(self, agent: str) -> float:
        """Returns the seconds between two requests that the host asks for, at most 30; 0 if it does not ask."""
        delay = None if self.parsed is None else self.parsed.crawl_delay(agent)
        return min(float(delay or 0.0), MAX_CRAWL_DELAY)
