"""Edits around a filled object: the column `inpainting` has the photograph without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes.base import Example, ImageMap, RgbImage, Source, Table
from x2i.recipes.edits.base import Edited, ObjectEdit
from x2i.recipes.masks import Mask, entity_mask, example_entity


@dataclass(frozen=True)
class Plate:
    """A photograph without one of its objects. pixels: uint8 RGB (height, width, 3). mask_HW: what was filled."""

    pixels: RgbImage
    mask: Mask


@dataclass(frozen=True)
class FilledEdit(ObjectEdit):
    """An edit of an object whose place in the photograph was filled."""

    coverage: Annotated[
        tuple[float, float], Option("Share of the picture that the object covers; others are dropped.", ge=0, le=1)
    ] = (0.003, 0.2)
    inpainting: Annotated[str, Option("Column of the photographs without the object.")] = "inpainting"
    max_seam: Annotated[
        float, Option("Samples are dropped whose filled place steps off by more, in levels of 255.", gt=0)
    ] = 30.0

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.entities), Table(self.inpainting, images=True))

    def requires(self) -> Mapping[str, str]:
        return {**super().requires(), "fits_its_surroundings": f"candidate.seam <= {self.max_seam}"}

    def query(self, tables: frozenset[str]) -> str:
        return f"""
            SELECT objects.*, filling.seam
            FROM ({super().query(tables)}) AS objects
            JOIN "{self.inpainting}" AS filling ON filling.key = objects.keys[1] AND filling.entity = objects.entity
        """

    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited | Dropped:
        found = source.maps[self.inpainting]
        return super().edit(source, {**metadata, "plate": plate(source.pixels, found)}, random)

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        entity = example_entity(photographs[0])
        mask = entity_mask(entity, *photographs[0].shape[:2])
        small = mask & np.roll(mask, mask.shape[0] // 4, 0) & np.roll(mask, mask.shape[1] // 4, 1)
        entity = {**entity, **_masked(small), "entities_of_phrase": 1, "seam": 5.0}
        found = _example_filling(photographs[0].tobytes(), photographs[0].shape, entity["mask_counts"])
        return Example((Source(photographs[0], {self.inpainting: found}),), entity)


def plate(image: RgbImage, found: ImageMap) -> Plate:
    """Returns the photograph_HWC without the object, from a row of the column `inpainting` at any size."""
    import cv2

    height, width = image.shape[:2]
    rows, columns = found.fields["mask_size"]
    mask = entity_mask(found.fields, height, width)
    (x0, y0), (x1, y1) = (
        (round(found.fields[x] * width / columns), round(found.fields[y] * height / rows))
        for x, y in (("x0", "y0"), ("x1", "y1"))
    )
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    shrinks = y1 - y0 < found.values.shape[0]
    smooth = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    canvas = image.copy()
    canvas[y0:y1, x0:x1] = cv2.resize(found.values, (x1 - x0, y1 - y0), interpolation=smooth)
    return Plate(np.where(mask[..., None], canvas, image), mask)


def _masked(mask: Mask) -> dict[str, Any]:
    from x2i.image.rle import encode_mask

    return {"mask_size": list(mask.shape), "mask_counts": encode_mask(mask)}


@lru_cache(maxsize=32)
def _example_filling(data: bytes, shape: tuple[int, ...], counts: str) -> ImageMap:
    from x2i.annotate.inpainting import filled_row, widened
    from x2i.image.rle import decode_mask
    from x2i.models.classic.exemplar import Exemplar
    from x2i.recipes.maps import read_map

    image = np.frombuffer(data, np.uint8).reshape(shape)
    hole = widened(decode_mask(counts, *shape[:2]), 0.02)
    (pixels,) = Exemplar().inpaint([image], [hole])
    return read_map("inpainting", filled_row("example", 0, pixels, hole))
