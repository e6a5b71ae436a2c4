"""Objects cut out of a photograph in, the photograph out: what the caption names is tied to the pictures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from x2i.image import ResizeMode, resize
from x2i.image.rle import encode_mask
from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes.base import Example, RgbImage, Source, Table
from x2i.recipes.cutouts import Varied, around, cut_out
from x2i.recipes.masks import entity_mask
from x2i.recipes.subjects.base import Subjects


@dataclass(frozen=True)
class EntityToImage(Subjects):
    """An object is shown turned, scaled, tilted, mirrored and in another light, since a literal crop teaches copying.

    Where a model has drawn the object anew (`x2i annotate repaints`), that picture is the input. The parameters say
    what was drawn at random, and whether the input is `literal`: made from the target's own pixels.
    """

    name = "entity_to_image"
    title = "An object cut out of a photograph to the photograph"

    relation: Annotated[str, Option("Relation of photographs and their objects.")] = "subject_entities"
    repaints: Annotated[str, Option("Column of the objects that a model has drawn anew, if there is one.")] = "repaints"
    background: Annotated[
        Literal["plain", "original", "both"], Option("What is around the object; both: either, drawn by chance.")
    ] = "both"
    erosion: Annotated[
        tuple[float, float], Option("Share of the object's size that its border loses, unevenly.", ge=0, le=0.2)
    ] = (0.0, 0.04)
    rotation: Annotated[float, Option("Degrees that the object is turned at most.", ge=0, le=90)] = 20.0
    scale: Annotated[tuple[float, float], Option("Of the largest size that fits.", gt=0, le=1)] = (0.6, 0.95)
    tilt: Annotated[float, Option("Perspective: share of the size that corners move at most.", ge=0, le=0.3)] = 0.08
    light: Annotated[float, Option("How far brightness, gamma and color may go, 0 for not at all.", ge=0, le=1)] = 0.25
    mirror: Annotated[float, Option("Share of the objects that are mirrored.", ge=0, le=1)] = 0.3

    def reads(self) -> tuple[Table, ...]:
        return (*super().reads(), Table(self.repaints, optional=True, images=True))

    def query(self, tables: frozenset[str]) -> str:
        rows = super().query(tables)
        if self.repaints not in tables:
            return rows
        return f"""
            SELECT chosen.*, painted.objects AS repainted
            FROM ({rows}) AS chosen LEFT JOIN "{self.repaints}" AS painted ON painted.key = chosen.keys[1]
        """

    def shown(
        self, source: Source, number: int, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> tuple[RgbImage, Mapping[str, Any]] | Dropped:
        repainted = metadata.get("repainted") or []
        if metadata["entities"][number] in repainted:
            return self.repaint(source, repainted.index(metadata["entities"][number]))
        entity = {"mask_counts": metadata["masks"][number], "mask_size": metadata["sizes"][number]}
        mask = entity_mask(entity, *source.pixels.shape[:2])
        varied = Varied.drawn(random, self.rotation, self.scale, self.tilt, self.light, self.mirror)
        erosion = float(random.uniform(*self.erosion))
        plain = {"plain": True, "original": False, "both": random.uniform() < 0.7}[self.background]
        said = {"literal": True, "background": "plain" if plain else "original", **varied.as_json()}
        if plain:
            shown = cut_out(source.pixels, mask, erosion, varied, random)
            return shown if isinstance(shown, Dropped) else (shown, {**said, "erosion": round(erosion, 4)})
        cropped = around(source.pixels, metadata["boxes"][number], metadata["sizes"][number], 1.3)
        if isinstance(cropped, Dropped):
            return cropped
        return varied.relit(varied.mirrored(cropped[0])), {**said, **cropped[1]}

    def repaint(self, source: Source, place: int) -> tuple[RgbImage, Mapping[str, Any]]:
        """Returns what a model has drawn of an object, no larger than the photograph. place: in the stored picture."""
        found = source.maps[self.repaints]
        side = found.values.shape[1]
        square = np.asarray(found.values[place * side : (place + 1) * side], np.uint8)
        said = {name: found.fields[name][place] for name in ("told", "similarity")}
        return resize(square, ResizeMode.LONGEST, max(source.pixels.shape[:2])), {
            "literal": False,
            "repainter": found.fields["model"],
            **said,
        }

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        height, width = photographs[0].shape[:2]
        y, x = np.mgrid[:height, :width]
        masks, boxes = [], []
        for k in range(self.num_subjects):
            center = width * (k + 1) / (self.num_subjects + 1)
            disc = np.hypot(y - height / 2, x - center) < min(height, width) / 5
            rows, columns = np.nonzero(disc)
            masks.append(encode_mask(disc))
            boxes.append([int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1])
        row = {
            "boxes": boxes,
            "masks": masks,
            "sizes": [[height, width]] * self.num_subjects,
            "phrases": ["red cup", "dog", "old book"][: self.num_subjects],
            "entities": list(range(self.num_subjects)),
            "kind": "entity",
        }
        caption = "A red cup and his dog beside an old book."
        return Example((Source(photographs[0]),), {"caption": caption, **row})


@dataclass(frozen=True)
class TwoEntitiesToImage(EntityToImage):
    """Two objects, each in a picture of its own."""

    name = "two_entities_to_image"
    title = "Two objects cut out of a photograph to the photograph"
    image_slots = ("image_1", "image_2")


@dataclass(frozen=True)
class ThreeEntitiesToImage(EntityToImage):
    """Three objects, each in a picture of its own."""

    name = "three_entities_to_image"
    title = "Three objects cut out of a photograph to the photograph"
    image_slots = ("image_1", "image_2", "image_3")
