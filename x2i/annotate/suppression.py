"""Class-wise non-maximum suppression: of boxes that overlap and bear the same phrase, the best one stays."""

from __future__ import annotations

from collections.abc import Sequence

from x2i.models.abilities import Box, Detection


def suppressed(detections: Sequence[Detection], overlap: float) -> list[Detection]:
    """Returns the detections, best score first, without those that overlap a better one of their phrase too much.

    overlap: intersection over union, 0 to 1, above which two boxes are one object. Detections without a phrase are of
    no known class: all stay.
    """
    kept: list[Detection] = []
    for found in sorted(detections, key=lambda detection: -detection.score):
        rivals = (other for other in kept if found.phrase is not None and other.phrase == found.phrase)
        if all(intersection_over_union(found.box, other.box) <= overlap for other in rivals):
            kept.append(found)
    return kept


def intersection_over_union(one: Box, other: Box) -> float:
    """Returns the shared area of two boxes as a share of the area that they cover together, 0 to 1."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    shared = max(0, width) * max(0, height)
    return shared / (one.area + other.area - shared)
