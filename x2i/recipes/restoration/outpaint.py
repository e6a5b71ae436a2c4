"""outpaint: a part of a photograph on a canvas of a flat color in, the whole photograph out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.recipes.base import Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration
from x2i.recipes.restoration.holes import COLORS, rare_color


@dataclass(frozen=True)
class Outpaint(Restoration):
    """The known part is a box at a random place, unchanged; around it the canvas has a color that the picture hardly
    has. The box and the color are recorded.
    """

    name = "outpaint"
    title = "Part of a photograph to the whole scene"
    operation = "extending the picture beyond its borders"
    no_damage = {"kept": (1.0, 1.0)}

    kept: Annotated[
        Range, Option("Share of the width, and of the height, that stays known; drawn for each.", gt=0, le=1)
    ] = (0.5, 0.85)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        image = source.pixels
        height, width = image.shape[:2]
        shares, places = random.uniform(*self.kept, size=2), random.uniform(size=2)
        color = rare_color(image, random)
        h, w = max(1, round(height * shares[0])), max(1, round(width * shares[1]))
        y, x = int(places[0] * (height - h + 1)), int(places[1] * (width - w + 1))
        canvas = np.empty_like(image)
        canvas[:] = COLORS[color]
        canvas[y : y + h, x : x + w] = image[y : y + h, x : x + w]
        parameters = {"box": [x, y, x + w, y + h], "color": color, "rgb": list(COLORS[color])}
        return Damaged(canvas, parameters, {"color": color})
