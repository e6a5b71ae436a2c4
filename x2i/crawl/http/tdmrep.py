"""/.well-known/tdmrep.json of the TDM Reservation Protocol: on which paths a host reserves text and data mining."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from protego import Protego

MAX_TDMREP_BYTES = 512 * 1024
MAX_RULES = 1000
"""Rules beyond this many are not read."""
TDMREP_PATH = "/.well-known/tdmrep.json"


@dataclass(frozen=True)
class TdmRule:
    """location: a path from the root, where "*" stands for anything and a last "$" for the end."""

    location: str
    reserved: bool
    pattern: Protego

    def covers(self, url: str) -> bool:
        return not self.pattern.can_fetch(url, "*")


@dataclass(frozen=True)
class TdmReservations:
    """The rules of one origin, in the order of its file; the first that covers a path decides."""

    rules: tuple[TdmRule, ...] = ()

    @classmethod
    def from_json(cls, data: bytes) -> TdmReservations:
        """Reads a tdmrep.json. What is broken reserves nothing."""
        try:
            document = json.loads(data[:MAX_TDMREP_BYTES])
        except (ValueError, RecursionError):
            return cls()
        entries = document if isinstance(document, list) else [document]
        rules = (_rule(entry) for entry in entries[:MAX_RULES])
        return cls(tuple(rule for rule in rules if rule is not None))

    def opt_out(self, url: str) -> str:
        """Returns the signal that reserves `url`, such as "tdmrep.json: /photos/", or ""."""
        for rule in self.rules:
            if rule.covers(url):
                return f"tdmrep.json: {rule.location[:100]}" if rule.reserved else ""
        return ""


def _rule(entry: Any) -> TdmRule | None:
    if not isinstance(entry, dict):
        return None
    location, reservation = entry.get("location"), entry.get("tdm-reservation")
    if not isinstance(location, str) or not location.isprintable() or "#" in location:
        return None
    path = "/" + location.strip().lstrip("/")
    # Path patterns are those of robots.txt, so the same well-tested matcher reads them.
    pattern = Protego.parse(f"User-agent: *\nDisallow: {path}")
    return TdmRule(location, str(reservation).strip().lower() in ("1", "true"), pattern)
