"""Instructions asked again: of the mirrored pair, where left and right must swap, and of the swapped pair, where the
instruction must invert.

Models that describe pairs of pictures confuse left and right more than anything else; these two questions find it
without knowing the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from x2i.pairs.words import inverse_words, mirrored_words, names_a_side

RgbImage = NDArray[np.uint8]
_IGNORED = frozenset(
    "a an the of to in on at into from with by for and please it its image picture photo this that is are be".split()  # noqa: SIM905
)
_KINDS = {
    "add": "add insert put place include draw appear",
    "remove": "remove delete erase take away clear disappear",
    "replace": "replace swap exchange substitute turn convert transform",
    "move": "move shift slide",
    "color": "color recolor paint dye",
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_INVERSE_KIND = {"add": "remove", "remove": "add"}
_SIDES = frozenset({"left", "right", "leftmost", "rightmost", "clockwise", "counterclockwise"})


class InstructionWriter(Protocol):
    """Says in words how the first image of a pair became the second."""

    def write(self, pairs: Sequence[tuple[RgbImage, RgbImage]]) -> Sequence[str | None]:
        """Returns an instruction for each pair, None where it has nothing to say."""
        ...


@dataclass(frozen=True)
class Consistency:
    """What a writer said of a pair (written), of its mirror image and of the pair with its sides exchanged.

    mirror, swap: how well the answers agree with what must follow from the instruction, 0 to 1; None where that cannot
    be told. sides_swapped: False where the instruction names a side and the mirrored answer names the same one.
    """

    written: str | None
    mirrored: str | None
    swapped: str | None
    mirror: float | None
    swap: float | None
    sides_swapped: bool


def ask_again(
    writer: InstructionWriter, pairs: Sequence[tuple[RgbImage, RgbImage]], instructions: Sequence[str | None]
) -> list[Consistency]:
    """Returns how far instructions hold when `writer` is asked of the mirrored and of the swapped pairs.

    instructions: the ones to check, without image markers; where one is None the writer is asked for it first.
    """
    missing = [place for place, text in enumerate(instructions) if not text]
    told = list(instructions)
    for place, text in zip(missing, writer.write([pairs[place] for place in missing]) if missing else ()):
        told[place] = text
    flipped = writer.write([(_flipped(before), _flipped(after)) for before, after in pairs])
    swapped = writer.write([(after, before) for before, after in pairs])
    return [judged(*texts) for texts in zip(told, flipped, swapped, strict=True)]


def judged(written: str | None, mirrored: str | None, swapped: str | None) -> Consistency:
    """Returns how well three answers agree."""
    if not written:
        return Consistency(written, mirrored, swapped, None, None, sides_swapped=True)
    mirror = agreement(mirrored_words(written), mirrored) if mirrored else None
    sides = not (mirrored and names_a_side(written) and _sides(mirrored) == _sides(written))
    inverse = inverse_words(written)
    swap = None
    if swapped and inverse:
        swap = agreement(inverse, swapped)
    elif swapped and _kind(written) in _INVERSE_KIND:
        swap = float(_kind(swapped) == _INVERSE_KIND[_kind(written)])
    elif swapped and agreement(written, swapped) > 0.8 and _kind(written) not in ("replace", ""):
        swap = 0.0  # the same thing cannot be done forward and back
    return Consistency(written, mirrored, swapped, mirror, swap, sides)


def agreement(expected: str, found: str) -> float:
    """Returns how alike two instructions are, 0 to 1: of their words that say something, as F1; 0 if they speak of
    opposite sides or of opposite deeds.
    """
    if _sides(expected) != _sides(found) and _sides(expected) and _sides(found):
        return 0.0
    one, other = _kind(expected), _kind(found)
    if one != other and _INVERSE_KIND.get(one) == other:
        return 0.0
    a, b = _content(expected), _content(found)
    if not a or not b:
        return 0.0
    return round(2 * len(a & b) / (len(a) + len(b)), 4)


def _content(text: str) -> set[str]:
    words = (word.strip(".,;:!?'\"()").lower() for word in text.split())
    return {_KIND_OF.get(word, word) for word in words if word and word not in _IGNORED}


def _kind(text: str) -> str:
    words: Callable[[str], list[str]] = lambda line: [word.strip(".,!").lower() for word in line.split()]  # noqa: E731
    return next((_KIND_OF[word] for word in words(text) if word in _KIND_OF), "")


def _sides(text: str) -> frozenset[str]:
    return frozenset(word.strip(".,;!").lower().replace("-hand", "") for word in text.split()) & _SIDES


def _flipped(image: RgbImage) -> RgbImage:
    return np.ascontiguousarray(image[:, ::-1])
