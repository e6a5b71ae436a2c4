"""Frames of one clip: those of a video between two cuts, in their order, as the crawl stored them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any


@dataclass(frozen=True)
class Frame:
    """One stored frame. seconds: from the start of the video. row: of the image index, with key, width and height."""

    key: str
    seconds: float
    row: Mapping[str, Any]


def clips(images: Iterable[Mapping[str, Any]]) -> Iterator[list[Frame]]:
    """Yields the frames of each clip with at least two, in the order of their times.

    images: rows of the image index with `key` and `extra`, where the crawl of a video wrote `video`, `clip`, `seconds`.
    """
    found = []
    for row in images:
        said = json.loads(row["extra"] or "{}")
        if "video" in said and "clip" in said:
            place = (row["url"].partition("#")[0], int(said["clip"]))
            found.append((place, float(said["seconds"]), row["key"], row))
    found.sort(key=lambda entry: entry[:3])
    for _, of_clip in groupby(found, key=lambda entry: entry[0]):
        frames = [Frame(key, seconds, row) for _, seconds, key, row in of_clip]
        if len(frames) > 1:
            yield frames
