"""robots.txt by RFC 9309: what a host allows this crawler to fetch, and to use for training."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from protego import Protego

from x2i.crawl.http.optout import permits_training
from x2i.crawl.http.rsl import robots_licenses

MAX_ROBOTS_BYTES = 512 * 1024
"""RFC 9309 section 2.5 asks for at least 500 KiB; what stands beyond is not read."""
MAX_CRAWL_DELAY = 30.0
_USAGE_LINES = ("content-usage", "content-signal")
_OTHER_RULE = "-: -"
"""Stands for any other line, which ends a run of user-agent lines."""
_AGENT_LINE = re.compile(r"\s*user[\s-]?agent\b\s*:?\s*([^\s/#]*)", re.IGNORECASE)
_AGENT_END = "/"
"""Written behind every name and asked for with it: Protego takes the beginning of a name for the name."""


@dataclass(frozen=True)
class RobotsRules:
    """The rules of one origin. `parsed` is None where one answer holds for every path: `everything`, because `why`.

    `usage` is None where the file states no preference about training. `licenses`: RSL documents it names.
    """

    parsed: Protego | None = None
    everything: bool = True
    why: str = ""
    usage: Protego | None = None
    licenses: tuple[str, ...] = ()
    size: int = 0

    @classmethod
    def from_text(cls, data: bytes) -> RobotsRules:
        """Parses the first 512 KiB of a robots.txt; unreadable lines are skipped, as the RFC says."""
        if len(data) >= MAX_ROBOTS_BYTES:
            data = data[:MAX_ROBOTS_BYTES].rpartition(b"\n")[0]
        text = _with_whole_names(_decode(data))
        return cls(Protego.parse(text), usage=_usage_rules(text), licenses=robots_licenses(text), size=len(data))

    @classmethod
    def from_status(cls, status: int) -> RobotsRules | None:
        """Returns the rules that a status stands for, or None if the body counts (RFC 9309 section 2.3.1)."""
        if 200 <= status < 300:
            return None
        if 500 <= status < 600 or status == 429:
            return cls(everything=False, why=f"robots.txt answered {status}")
        return cls(everything=True, why=f"robots.txt answered {status}")

    def allows(self, url: str, agent: str) -> bool:
        """Whether `agent` (a product token) may fetch `url`."""
        return self.everything if self.parsed is None else bool(self.parsed.can_fetch(url, agent + _AGENT_END))

    def opt_out(self, url: str, agent: str) -> str:
        """Returns "robots.txt: training is refused" if a usage line forbids `agent` to train on `url`, else ""."""
        forbidden = self.usage is not None and not self.usage.can_fetch(url, agent + _AGENT_END)
        return "robots.txt: training is refused" if forbidden else ""

    def crawl_delay(self, agent: str) -> float:
        """Returns the seconds between two requests that the host asks for, at most 30; 0 if it does not ask."""
        delay = None if self.parsed is None else self.parsed.crawl_delay(agent + _AGENT_END)
        return min(float(delay or 0.0), MAX_CRAWL_DELAY)


def _decode(data: bytes) -> str:
    """Returns the text of a robots.txt: UTF-8, as it should be, or UTF-16 if it says so."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8", errors="replace").lstrip("\ufeff")


def _with_whole_names(text: str) -> str:
    """Returns a robots.txt whose user-agent lines name product tokens alone, each ended by _AGENT_END.

    "x2i/1.0" and "x2i (a comment)" address x2i, as their owners mean; "x" does not (RFC 9309 section 2.2.1).
    """
    return "\n".join(_with_whole_name(line) for line in text.splitlines())


def _with_whole_name(line: str) -> str:
    found = _AGENT_LINE.match(line)
    if not found or found[1] in ("", "*"):
        return line
    return f"User-agent: {found[1]}{_AGENT_END}"


def _usage_rules(text: str) -> Protego | None:
    """Returns the Content-Usage and Content-Signal lines as a robots.txt of their own, or None if there are none.

    Each names a path, or means them all, and is matched like Allow and Disallow (draft-ietf-aipref-attach, section 3):
    so a line that refuses training becomes a Disallow, and one that permits it an Allow.
    """
    if not any(name in text.lower() for name in _USAGE_LINES):
        return None
    return Protego.parse("\n".join(_usage_rule(line) for line in text.splitlines()))


def _usage_rule(line: str) -> str:
    if _AGENT_LINE.match(line):
        return line
    name, _, value = line.partition("#")[0].partition(":")
    if name.strip().lower() not in _USAGE_LINES:
        return _OTHER_RULE
    path, preferences = "/", value.strip()
    if preferences.startswith("/"):
        path, preferences = [*preferences.split(maxsplit=1), ""][:2]
    permitted = permits_training(preferences)
    if permitted is None:
        return _OTHER_RULE
    if permitted:
        return f"Allow: {path}"
    # Of two lines for one path the one that refuses counts: the "*" matches nothing more, but makes the path longer.
    return f"Disallow: {path}" if path.endswith("$") else f"Disallow: {path}*"
