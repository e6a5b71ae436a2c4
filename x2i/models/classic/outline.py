"""How clearly the outline of a mask divides two colors: whether a cut-out is a thing or a part of one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage

BAND = 7
WINDOW = 13
MIN_PIXELS = 5
DISTINCT = 14.0


@dataclass(frozen=True)
class Outline:
    """separation: share of the outline within the image on whose two sides the colors differ, 0 to 1. frame: share of
    the whole outline that the edge of the image cuts off."""

    separation: float
    frame: float


def outline_of(image: RgbImage, mask_HW: NDArray[np.bool_]) -> Outline:
    """Returns how clearly a mask stands out, at the size given; some 300 pixels are right.

    At each point of the outline, the mean color within BAND pixels on one side, in a window of WINDOW pixels, is
    compared with that on the other: Lab colors DISTINCT apart differ. Half an orange, a patch of sky and a glow are cut
    where nothing divides them.
    """
    inside_HW = mask_HW.astype(np.uint8)
    edge_HW = inside_HW & ~cv2.erode(inside_HW, np.ones((3, 3), np.uint8), borderValue=1) & 1
    cut_off = int(inside_HW[[0, -1]].sum()) + int(inside_HW[:, [0, -1]].sum())
    lab_HW3 = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    (inner_HW3, inner_HW), (outer_HW3, outer_HW) = (_beside(lab_HW3, side) for side in (inside_HW, 1 - inside_HW))
    judged_HW = (edge_HW > 0) & (inner_HW >= MIN_PIXELS) & (outer_HW >= MIN_PIXELS)
    apart_N = np.linalg.norm(inner_HW3[judged_HW] - outer_HW3[judged_HW], axis=-1)
    return Outline(
        separation=float((apart_N >= DISTINCT).mean()) if len(apart_N) else 0.0,
        frame=cut_off / max(1, cut_off + int(edge_HW.sum())),
    )


def _beside(
    lab_HW3: NDArray[np.float32], side_HW: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the mean color around each pixel of what lies on one side of the outline, and of how many pixels.

    The first pixel beside the outline is left out: it is a mixture of both sides.
    """
    deep_HW = cv2.distanceTransform(np.pad(side_HW, 1, constant_values=1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    band_HW = ((deep_HW > 1) & (deep_HW <= BAND)).astype(np.float32)
    count_HW = cv2.boxFilter(band_HW, -1, (WINDOW, WINDOW), normalize=False)
    total_HW3 = cv2.boxFilter(lab_HW3 * band_HW[..., None], -1, (WINDOW, WINDOW), normalize=False)
    return total_HW3 / np.maximum(count_HW, 1)[..., None], count_HW
