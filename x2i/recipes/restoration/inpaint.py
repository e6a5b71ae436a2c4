"""The inpainting tasks: a photograph with holes of a flat color in, the whole photograph out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, RgbImage, Source, Table
from x2i.recipes.masks import LAMA_SHAPES, SHAPES, Mask, entity_mask, example_entity
from x2i.recipes.restoration.base import Damaged, Range, Restoration, one_of
from x2i.recipes.restoration.holes import COLORS, rare_color


@dataclass(frozen=True)
class Inpaint(Restoration):
    """The hole is part of the input picture. Its color is one that the picture hardly has; it is recorded and may be
    named in the instruction.

    Shapes: boxes, strokes, and the outline of a found entity where the image has one of a fit size.
    """

    name = "inpaint"
    title = "Photograph with holes to whole photograph"
    operation = "filling in the missing part"

    shapes: Annotated[
        tuple[Literal["boxes", "strokes", "lama_boxes", "lama_strokes", "entity"], ...],
        Option("With equal chance: boxes, strokes, lama_boxes, lama_strokes, entity (where a mask of one is known)."),
    ] = ("boxes", "strokes", "entity")
    coverage: Annotated[Range, Option("Share of the picture that the hole covers.", gt=0, lt=1)] = (0.02, 0.5)
    entities: Annotated[str, Option("Column of found entities with masks.")] = "entities"

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.entities, optional=True),) if "entity" in self.shapes else ()

    def query(self, tables: frozenset[str]) -> str:
        if self.entities not in tables:
            return super().query(tables)
        low, high = self.coverage
        return f"""
            SELECT [images.key] AS keys, found.best.mask_size AS mask_size, found.best.mask_counts AS mask_counts
            FROM images LEFT JOIN (
                SELECT key, arg_max(struct_pack(mask_size := mask_size, mask_counts := mask_counts),
                                    row(score, -entity)) AS best
                FROM "{self.entities}"
                WHERE mask_counts IS NOT NULL
                  AND (x1 - x0) * (y1 - y0) BETWEEN {low} * mask_size[1] * mask_size[2]
                                                AND {high} * mask_size[1] * mask_size[2]
                GROUP BY key
            ) AS found ON found.key = images.key
        """

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged | Dropped:
        image = source.pixels
        known = bool(metadata.get("mask_counts"))
        shapes = tuple(shape for shape in self.shapes if known or shape != "entity")
        if not shapes:
            return Dropped(Reason.NO_ENTITY, "no mask of a fit size")
        shape = one_of(shapes, random)
        color = rare_color(image, random)
        mask = self._mask(shape, image, metadata, random)
        covered = float(mask.mean())
        if not self.coverage[0] <= covered <= self.coverage[1]:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the hole covers {covered:.1%} of the picture")
        holed = image.copy()
        holed[mask] = COLORS[color]
        parameters = {"shape": shape, "color": color, "rgb": list(COLORS[color]), "coverage": round(covered, 4)}
        return Damaged(holed, parameters, {"color": color})

    def _mask(self, shape: str, image: RgbImage, metadata: Mapping[str, Any], random: np.random.Generator) -> Mask:
        height, width = image.shape[:2]
        if shape in LAMA_SHAPES:  # their sizes vary so much that many do not fit
            for _ in range(30):
                mask = LAMA_SHAPES[shape](height, width, random)
                if self.coverage[0] <= mask.mean() <= self.coverage[1]:
                    break
            return mask
        return entity_mask(metadata, height, width) if shape == "entity" else SHAPES[shape](height, width, random)


@dataclass(frozen=True)
class InpaintFreeForm(Inpaint):
    """Holes as LaMa draws them for training: boxes, and zigzags of thick brushes."""

    name = "inpaint_free_form"
    title = "Photograph with large irregular holes to whole photograph"

    shapes: Annotated[
        tuple[Literal["boxes", "strokes", "lama_boxes", "lama_strokes", "entity"], ...],
        Option("With equal chance: boxes, strokes, lama_boxes, lama_strokes, entity (where a mask of one is known)."),
    ] = ("lama_boxes", "lama_strokes")


@dataclass(frozen=True)
class InpaintObject(Inpaint):
    """The hole is a found entity, widened by a border, so that the object has to be drawn again."""

    name = "inpaint_object"
    title = "Photograph with an object cut out to whole photograph"
    operation = "drawing the missing object"

    shapes: Annotated[
        tuple[Literal["entity"], ...],
        Option("entity: the outline of a found entity of a fit size."),
    ] = ("entity",)
    border: Annotated[float, Option("Width of the border, as a share of the shorter side.", ge=0, le=0.2)] = 0.015

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.entities),)

    def requires(self) -> Mapping[str, str]:
        return {"has_mask": "coalesce(candidate.mask_counts, '') <> ''"}

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        return Example((Source(photographs[0]),), example_entity(photographs[0]))

    def _mask(self, shape: str, image: RgbImage, metadata: Mapping[str, Any], random: np.random.Generator) -> Mask:
        import cv2

        mask = super()._mask(shape, image, metadata, random)
        reach = 2 * max(1, round(self.border * min(image.shape[:2]))) + 1
        wide = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        return cv2.dilate(mask.astype(np.uint8), wide) > 0
