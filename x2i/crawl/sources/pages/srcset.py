"""The `srcset` attribute: which of the offered files is the largest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DESCRIPTOR = re.compile(r"((?:\d{1,9}(?:\.\d*)?|\.\d+)(?:e[+-]?\d{1,2})?)([wx])", re.IGNORECASE)
_DESCRIPTORS = 8
"""Words after one address that are looked at; what stands beyond is no descriptor."""
_GAP = re.compile(r"[\s,]*")
_ADDRESS = re.compile(r"\S+")


@dataclass(frozen=True)
class Candidate:
    """width: pixels, where given. density: device pixels per CSS pixel, 1.0 if nothing is given."""

    url: str
    width: float | None
    density: float


def parse_srcset(text: str) -> Iterator[Candidate]:
    """Yields the candidates of a srcset attribute (HTML Living Standard, section 4.8.4.3.9); URLs may hold commas."""
    position = _past(_GAP, text, 0)
    while match := _ADDRESS.match(text, position):
        position = match.end()
        address, descriptors = match[0].rstrip(","), ""
        if address == match[0]:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            descriptors, position = text[position:end], end
        if address:
            yield _candidate(address, descriptors)
        position = _past(_GAP, text, position)


def _candidate(address: str, descriptors: str) -> Candidate:
    """Reads "640w", "2x", "640w 480h"; what is neither counts as nothing."""
    width, density = None, 1.0
    for word in descriptors.split(maxsplit=_DESCRIPTORS)[:_DESCRIPTORS]:
        found = _DESCRIPTOR.fullmatch(word)
        if found and found[2] in "wW":
            width = float(found[1])
        elif found:
            density = float(found[1])
    return Candidate(address, width, density)


def _past(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def largest(candidates: list[Candidate]) -> str | None:
    """Returns the URL of the widest candidate; where no width is given, of the densest; the first of equals."""
    if not candidates:
        return None
    return max(candidates, key=lambda candidate: (candidate.width or 0.0, candidate.density)).url
