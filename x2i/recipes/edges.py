"""Edge maps for the two canny recipes: drawn detector strength, and a verdict on pictures without usable edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from x2i.reasons import Dropped, Reason
from x2i.recipes.base import RgbImage

MIN_DENSITY, MAX_DENSITY = 0.005, 0.35


@dataclass(frozen=True)
class EdgeMap:
    """edges: uint8 RGB_HWC, white on black, nothing between. density: the share of white pixels, 0 to 1."""

    edges: RgbImage
    parameters: Mapping[str, Any]
    density: float


def draw_edges(image: RgbImage, random: np.random.Generator) -> EdgeMap | Dropped:
    """Runs `classic:canny` with a drawn hysteresis spread; says no where edges are nowhere or everywhere."""
    from x2i.models.classic.canny import Canny

    spread = round(float(random.uniform(0.15, 0.5)), 3)
    edges_HW = Canny(spread).edges([image])[0]
    density = float(np.mean(edges_HW > 0))
    if not MIN_DENSITY <= density <= MAX_DENSITY:
        return Dropped(Reason.UNSUITABLE_IMAGE, f"edges cover {density:.2%} of the picture")
    edges_HWC = np.repeat(edges_HW[..., None], 3, axis=2)
    return EdgeMap(edges_HWC, {"detector": "classic:canny", "spread": spread}, round(density, 5))
