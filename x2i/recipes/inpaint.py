"""inpaint: a photograph with holes of a flat color in, the whole photograph out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from x2i.reasons import Dropped, Reason
from x2i.recipes.base import IMAGE_CANDIDATES, OneInputRecipe, Pair, RgbImage, restoration
from x2i.recipes.masks import SHAPES, Mask, entity_mask
from x2i.sample import Task

MIN_COVERAGE, MAX_COVERAGE = 0.02, 0.5
NEAR, RARE = 96, 0.01  # gray levels in each channel; share of the pixels
COLORS = {
    "gray": (128, 128, 128),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "magenta": (255, 0, 255),
    "green": (0, 255, 0),
    "red": (255, 0, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
}


class Inpaint(OneInputRecipe):
    """The hole is part of the input picture. Its color is drawn among those that the picture hardly has, so that the
    hole can be told from the picture; it is recorded and may be named in the instruction.

    Shapes: boxes, strokes, and the outline of a found entity where the image has one of a fit size.
    """

    name = "inpaint"
    task = Task.INPAINT
    operation = "filling in the missing part"
    wants = ("entities",)
    bytes_per_pixel = 0.8

    def candidates(self, views: frozenset[str]) -> str:
        if "entities" not in views:
            return IMAGE_CANDIDATES
        return f"""
            SELECT [images.key] AS keys, '' AS suffix,
                   json_object('mask_size', found.best.mask_size, 'mask_counts', found.best.mask_counts) AS facts
            FROM images LEFT JOIN (
                SELECT key, arg_max(struct_pack(mask_size := mask_size, mask_counts := mask_counts),
                                    row(score, -entity)) AS best
                FROM entities
                WHERE mask_counts IS NOT NULL
                  AND (x1 - x0) * (y1 - y0) BETWEEN {MIN_COVERAGE} * mask_size[1] * mask_size[2]
                                                AND {MAX_COVERAGE} * mask_size[1] * mask_size[2]
                GROUP BY key
            ) AS found ON found.key = images.key
        """

    def pair(self, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Pair | Dropped:
        shapes = [*SHAPES, "entity"] if facts.get("mask_counts") else list(SHAPES)
        shape = shapes[int(random.integers(len(shapes)))]
        color = draw_color(image, random)
        mask = self._mask(shape, image, facts, random)
        coverage = float(mask.mean())
        if not MIN_COVERAGE <= coverage <= MAX_COVERAGE:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the hole covers {coverage:.1%} of the picture")
        holed = image.copy()
        holed[mask] = COLORS[color]
        parameters = {"shape": shape, "color": color, "rgb": list(COLORS[color]), "coverage": round(coverage, 4)}
        return restoration(holed, image, parameters, color=color)

    def _mask(self, shape: str, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Mask:
        height, width = image.shape[:2]
        if shape == "entity":
            return entity_mask(facts, height, width)
        return SHAPES[shape](height, width, random)


def draw_color(image: RgbImage, random: np.random.Generator) -> str:
    """Returns a drawn name out of COLORS: the first, in drawn order, that less than RARE of the picture comes near."""
    pixels = image[::4, ::4].reshape(-1, 3).astype(np.int16)
    order = [list(COLORS)[number] for number in random.permutation(len(COLORS))]
    shares = {name: float(np.mean(np.abs(pixels - COLORS[name]).max(axis=1) < NEAR)) for name in order}
    return next((name for name in order if shares[name] < RARE), min(order, key=lambda name: shares[name]))
