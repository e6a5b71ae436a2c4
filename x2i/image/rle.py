"""Masks as COCO's compressed run-length strings: what pycocotools calls `counts`, without pycocotools.

Format (cocoapi, common/maskApi.c): run lengths of the mask read column by column, the first run counting zeros; from
the fourth run on the difference to the run two before is stored; each number is cut into groups of 5 bits, low group
first, a sixth bit says that more follow, the fifth bit of the last group is the sign; 48 is added to make a character.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FIRST_CHARACTER = 48


def encode_mask(mask_HW: NDArray[np.bool_]) -> str:
    """Returns the `counts` string of a mask of shape (height, width)."""
    flat = np.asarray(mask_HW, dtype=bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate([[0], edges, [flat.size]])
    runs = np.diff(bounds).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return "".join(_encode_number(run - runs[i - 2] if i > 2 else run) for i, run in enumerate(runs))


def decode_mask(counts: str, height: int, width: int) -> NDArray[np.bool_]:
    """Returns the mask_HW behind a `counts` string. Raises ValueError if the string does not fill height x width."""
    runs: list[int] = []
    for i, number in enumerate(_decode_numbers(counts)):
        runs.append(number + runs[i - 2] if i > 2 else number)
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"RLE of {sum(runs)} pixels; a mask of {height}x{width} has {height * width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def _encode_number(number: int) -> str:
    text = ""
    while True:
        group = number & 0x1F
        number >>= 5
        more = number != (-1 if group & 0x10 else 0)
        text += chr((group | (0x20 if more else 0)) + FIRST_CHARACTER)
        if not more:
            return text


def _decode_numbers(counts: str) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for character in counts:
        group = ord(character) - FIRST_CHARACTER
        if not 0 <= group < 64:
            raise ValueError(f"character {character!r} does not belong in a COCO RLE string")
        value |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            numbers.append(value - (1 << shift) if group & 0x10 else value)
            value = shift = 0
    if shift:
        raise ValueError("COCO RLE string ends inside a number")
    return numbers
