"""Pictures of found objects: each in a color of its own, in either direction, or a dot on each, for counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from x2i.image.rle import encode_mask
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, PairRecipe, Rendered, RgbImage, Source, Table
from x2i.recipes.boxes import CLASS_COLORS
from x2i.recipes.conditions import Drawn, FoundObjects, ImageToMap, MapToImage
from x2i.recipes.masks import entity_mask, example_entity
from x2i.recipes.phrasings.nouns import plural
from x2i.recipes.phrasings.wording import clean

DOT_COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}


@dataclass(frozen=True)
class Instances(FoundObjects):
    """Found objects, each in a color of its own on black; the smaller lies above. The parameters hold label, color and
    run lengths of what is seen of each.
    """

    family = "annotations"
    noun = "instance segmentation map"
    selected = "mask_size := mask_size, mask_counts := mask_counts"
    where = "coalesce(mask_counts, '') <> ''"

    most: Annotated[int, Option("Pictures with more objects are dropped.", ge=1, le=len(CLASS_COLORS))] = 12

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        found = self.objects(metadata)
        if isinstance(found, Dropped):
            return found
        masks = [entity_mask(entry, *source.pixels.shape[:2]) for entry in found]
        canvas = np.zeros_like(source.pixels)
        for number in sorted(range(len(masks)), key=lambda number: -int(masks[number].sum())):
            canvas[masks[number]] = CLASS_COLORS[number]
        objects = []
        for color, entry in zip(CLASS_COLORS, found):
            seen = (canvas == color).all(axis=2)
            if seen.any():
                objects.append({"label": entry["label"], "rgb": list(color), "mask_counts": encode_mask(seen)})
        return Drawn(canvas, {"objects": objects, "mask_size": list(canvas.shape[:2])})

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        return Example((Source(photographs[0]),), {"objects": [{"label": "thing", **example_entity(photographs[0])}]})


@dataclass(frozen=True)
class InstancesToImage(MapToImage, Instances):
    """The picture of the objects in, the photograph out; with the photograph's caption where it has one."""

    name = "instances_to_image"
    title = "Instance segmentation and caption to photograph"
    operation = "turning an instance map into a photo"


@dataclass(frozen=True)
class ImageToInstances(ImageToMap, Instances):
    """The photograph in, the picture of the objects out."""

    name = "image_to_instances"
    title = "Photograph to instance segmentation"
    operation = "giving each object a color"


@dataclass(frozen=True)
class CountObjects(PairRecipe):
    """A dot on each object of one label, so that they can be counted; the parameters hold the dots and their number.

    Only where the detector is sure of each of them, and no two dots touch.
    """

    name = "count_objects"
    title = "Photograph and label to a dot on each such object"
    family = "annotations"
    operation = "marking each object that is counted"
    shown_by_example = False
    lossless = ("output",)
    mirrorable = True
    computer_vision = True
    bytes_per_pixel = 2.0

    entities: Annotated[str, Option("Column of found entities.")] = "entities"
    most: Annotated[int, Option("Objects at most.", ge=1)] = 20
    least_score: Annotated[float, Option("Lowest score of the detector for any of them.", ge=0, le=1)] = 0.5
    colors: Annotated[tuple[Literal["red", "green", "blue", "yellow"], ...], Option("Colors of the dots.")] = (
        "red",
        "green",
        "blue",
        "yellow",
    )

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.entities),)

    def requires(self) -> Mapping[str, str]:
        return {"is_sure": f"candidate.least >= {self.least_score}"}

    def query(self, tables: frozenset[str]) -> str:
        return f"""
            SELECT [images.key] AS keys, '-e' || min(entity) AS suffix, found.label, min(score) AS least,
                   any_value(images.width) AS width, any_value(images.height) AS height,
                   list([x0, y0, x1, y1] ORDER BY entity) AS boxes
            FROM "{self.entities}" AS found JOIN images ON images.key = found.key
            WHERE trim(coalesce(found.label, '')) <> '' GROUP BY images.key, found.label
        """

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        import cv2

        boxes = metadata["boxes"]
        if len(boxes) > self.most:
            return Dropped(Reason.NO_ENTITY, f"{len(boxes)} objects")
        height, width = source.pixels.shape[:2]
        scale = np.array([width / metadata["width"], height / metadata["height"]])
        points = [np.rint((np.array(box).reshape(2, 2).mean(axis=0)) * scale).astype(int).tolist() for box in boxes]
        radius = max(3, round(min(height, width) / 50))
        for number, (x, y) in enumerate(points):
            if any(np.hypot(x - a, y - b) < 2 * radius + 2 for a, b in points[:number]):
                return Dropped(Reason.UNSUITABLE_IMAGE, "objects too near each other to be marked")
        color = self.colors[int(random.integers(len(self.colors)))]
        marked = source.pixels.copy()
        for x, y in points:
            cv2.circle(marked, (x, y), radius, DOT_COLORS[color], -1)
        label = clean(metadata["label"])
        parameters = {"label": label, "count": len(points), "points": points, "radius": radius}
        parameters |= {"rgb": list(DOT_COLORS[color])}
        slots = {"things": plural(label), "thing": label, "color": color}
        return Rendered((source.pixels,), marked, slots, parameters)

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        height, width = photographs[0].shape[:2]
        boxes = [[0, 0, width // 3, height // 3], [width // 2, height // 2, width, height]]
        return Example(
            (Source(photographs[0]),), {"label": "red cup", "boxes": boxes, "width": width, "height": height}
        )
