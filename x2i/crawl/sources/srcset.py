"""The `srcset` attribute: which of the offered files is the largest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DESCRIPTOR = re.compile(r"(\d+(?:\.\d+)?)([wx])")
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
        found = _DESCRIPTOR.search(descriptors)
        width = float(found[1]) if found and found[2] == "w" else None
        yield Candidate(address, width, float(found[1]) if found and found[2] == "x" else 1.0)
        position = _past(_GAP, text, position)


def _past(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def largest(candidates: list[Candidate]) -> str | None:
    """Returns the URL of the widest candidate; where no width is given, of the densest; the first of equals."""
    if not candidates:
        return None
    return max(candidates, key=lambda candidate: (candidate.width or 0.0, candidate.density)).url
