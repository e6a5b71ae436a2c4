"""image_to_canny: a photograph in, its edge map out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from x2i.reasons import Dropped
from x2i.recipes.base import OneInputRecipe, Pair, Picture, RgbImage
from x2i.recipes.edges import draw_edges
from x2i.sample import Task


class ImageToCanny(OneInputRecipe):
    """The edge map is the output, white on black, stored without loss."""

    name = "image_to_canny"
    task = Task.IMAGE_TO_CANNY
    operation = "detecting edges"
    bytes_per_pixel = 0.6

    def pair(self, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Pair | Dropped:
        drawn = draw_edges(image, random)
        if isinstance(drawn, Dropped):
            return drawn
        output = Picture(drawn.edges, lossless=True)
        return Pair(Picture(image), output, drawn.parameters, {"edge_density": drawn.density})
