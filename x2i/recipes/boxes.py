"""The boxes family: boxes of found objects, drawn in the color of their class on black or on the photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, PairRecipe, Rendered, RgbImage, Source, Table
from x2i.recipes.phrasings.nouns import condition_slots
from x2i.recipes.phrasings.wording import caption_slots, clean

CLASS_COLORS = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 96, 255),
    (255, 255, 0),
    (255, 0, 255),
    (0, 255, 255),
    (255, 128, 0),
    (128, 255, 128),
    (160, 64, 255),
    (255, 255, 255),
    (255, 128, 192),
    (128, 192, 255),
)


@dataclass(frozen=True)
class Boxes(PairRecipe):
    """Boxes, classes and colors are listed in the parameters, so that a picture of boxes can be read back.

    Classes take colors in the order of their first object, so one class has one color within a picture only.
    noun: what a picture of boxes is called in the phrasings. on_photo: the boxes lie on the photograph, not on black.
    """

    family = "boxes"
    mirrorable = True
    computer_vision = True
    shown_by_example = False  # which objects count is up to the detector
    bytes_per_pixel = 0.5
    noun: ClassVar[str] = "bounding box map"
    on_photo: ClassVar[bool] = False

    entities: Annotated[str, Option("Column of found entities.")] = "entities"
    most: Annotated[int, Option("Pictures with more objects are dropped.", ge=1)] = 12
    captions: Annotated[str, Option("Column of the captions.")] = "captions"

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.entities), Table(self.captions, optional=True))

    def query(self, tables: frozenset[str]) -> str:
        caption = "NULL::VARCHAR"
        if self.captions in tables:
            caption = f'(SELECT any_value(caption) FROM "{self.captions}" AS c WHERE c.key = images.key)'
        return f"""
            SELECT [images.key] AS keys, {caption} AS caption, images.width AS width, images.height AS height,
                   found.boxes AS boxes
            FROM images JOIN (
                SELECT key, list(struct_pack(label := label, box := [x0, y0, x1, y1]) ORDER BY entity) AS boxes
                FROM "{self.entities}" WHERE x1 > x0 AND y1 > y0 GROUP BY key
            ) AS found ON found.key = images.key
        """

    def objects(self, source: Source, metadata: Mapping[str, Any]) -> list[dict[str, Any]] | Dropped:
        """Returns the objects with box (pixels of the picture at hand), label and rgb; Dropped if they are too many."""
        found = metadata["boxes"] or []
        if not 1 <= len(found) <= self.most:
            return Dropped(Reason.NO_ENTITY, f"{len(found)} objects")
        height, width = source.pixels.shape[:2]
        scale = np.array([width / metadata["width"], height / metadata["height"]] * 2)
        colors: dict[str, tuple[int, int, int]] = {}
        objects = []
        for entry in found:
            label = clean(entry["label"] or "") or "object"
            color = colors.setdefault(label, CLASS_COLORS[len(colors) % len(CLASS_COLORS)])
            box = np.rint(np.array(entry["box"]) * scale).astype(int).tolist()
            objects.append({"label": label, "rgb": list(color), "box": box})
        return objects

    def drawn(self, image: RgbImage, objects: Sequence[Mapping[str, Any]]) -> RgbImage:
        """Returns the boxes of `objects` on `image`, or on black, as frames; the largest lies lowest."""
        import cv2

        canvas = image.copy() if self.on_photo else np.zeros_like(image)
        thickness = max(2, round(min(image.shape[:2]) / 128))
        by_size = sorted(objects, key=lambda entry: -_area(entry["box"]))
        for entry in by_size:
            x0, y0, x1, y1 = entry["box"]
            cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), entry["rgb"], thickness)
        return canvas

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        height, width = photographs[0].shape[:2]
        boxes = [
            {"label": "a thing", "box": [width // 8, height // 8, width // 2, height // 2]},
            {"label": "a place", "box": [width // 3, height // 4, width - 2, height - 2]},
        ]
        metadata = {"boxes": boxes, "width": width, "height": height, "caption": "A thing in a place."}
        return Example((Source(photographs[0]),), metadata)


@dataclass(frozen=True)
class BoxesToImage(Boxes):
    """Boxes on black in, the photograph out; with the photograph's caption where it has one."""

    name = "boxes_to_image"
    title = "Boxes of objects and caption to photograph"
    operation = "turning boxes into a photo"
    phrasings = "map_to_image"
    lossless = ("input_1",)

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        objects = self.objects(source, metadata)
        if isinstance(objects, Dropped):
            return objects
        slots = {**condition_slots(self.noun), **caption_slots(metadata.get("caption"))}
        return Rendered((self.drawn(source.pixels, objects),), source.pixels, slots, {"objects": objects})


@dataclass(frozen=True)
class ImageToBoxes(Boxes):
    """The photograph in, boxes on black out."""

    name = "image_to_boxes"
    title = "Photograph to boxes of objects on black"
    operation = "drawing the boxes of the objects"
    phrasings = "image_to_map"
    lossless = ("output",)

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        objects = self.objects(source, metadata)
        if isinstance(objects, Dropped):
            return objects
        output = self.drawn(source.pixels, objects)
        return Rendered((source.pixels,), output, self.slots(objects), {"objects": objects})

    def slots(self, objects: Sequence[Mapping[str, Any]]) -> Mapping[str, str | None]:
        return condition_slots(self.noun)


@dataclass(frozen=True)
class ImageToBoxesOnPhoto(ImageToBoxes):
    """The photograph in, the photograph with the boxes drawn on it out."""

    name = "image_to_boxes_on_photo"
    title = "Photograph to the photograph with boxes around objects"
    operation = "drawing boxes around the objects"
    on_photo = True

    def slots(self, objects: Sequence[Mapping[str, Any]]) -> Mapping[str, str | None]:
        return {}


def _area(box: Sequence[int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
