"""The boxes family: boxes of found objects, drawn in the color of their class on black or on the photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from x2i.reasons import Dropped
from x2i.recipes.base import Example, RgbImage, Source
from x2i.recipes.conditions import Drawn, FoundObjects, ImageToMap, MapToImage

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
class Boxes(FoundObjects):
    """Boxes, classes and colors are listed in the parameters, so that a picture of boxes can be read back.

    Classes take colors in the order of their first object, so one class has one color within a picture only.
    on_photo: the boxes lie on the photograph, not on black.
    """

    family = "boxes"
    noun = "bounding box map"
    selected = "box := [x0, y0, x1, y1]"
    where = "x1 > x0 AND y1 > y0"
    on_photo: ClassVar[bool] = False

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        """Returns the boxes as frames, the largest lowest; their parameters are pixels of the picture at hand."""
        import cv2

        found = self.objects(metadata)
        if isinstance(found, Dropped):
            return found
        height, width = source.pixels.shape[:2]
        scale = np.array([width / metadata["width"], height / metadata["height"]] * 2)
        colors: dict[str, tuple[int, int, int]] = {}
        objects = []
        for entry in found:
            color = colors.setdefault(entry["label"], CLASS_COLORS[len(colors) % len(CLASS_COLORS)])
            box = np.rint(np.array(entry["box"]) * scale).astype(int).tolist()
            objects.append({"label": entry["label"], "rgb": list(color), "box": box})
        canvas = source.pixels.copy() if self.on_photo else np.zeros_like(source.pixels)
        thickness = max(2, round(min(height, width) / 128))
        for entry in sorted(objects, key=lambda entry: -_area(entry["box"])):
            x0, y0, x1, y1 = entry["box"]
            cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), entry["rgb"], thickness)
        return Drawn(canvas, {"objects": objects})

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        height, width = photographs[0].shape[:2]
        objects = [
            {"label": "a thing", "box": [width // 8, height // 8, width // 2, height // 2]},
            {"label": "a place", "box": [width // 3, height // 4, width - 2, height - 2]},
        ]
        return Example((Source(photographs[0]),), {"objects": objects, "width": width, "height": height})


@dataclass(frozen=True)
class BoxesToImage(MapToImage, Boxes):
    """Boxes on black in, the photograph out; with the photograph's caption where it has one."""

    name = "boxes_to_image"
    title = "Boxes of objects and caption to photograph"
    operation = "turning boxes into a photo"


@dataclass(frozen=True)
class ImageToBoxes(ImageToMap, Boxes):
    """The photograph in, boxes on black out."""

    name = "image_to_boxes"
    title = "Photograph to boxes of objects on black"
    operation = "drawing the boxes of the objects"


@dataclass(frozen=True)
class ImageToBoxesOnPhoto(ImageToBoxes):
    """The photograph in, the photograph with the boxes drawn on it out."""

    name = "image_to_boxes_on_photo"
    title = "Photograph to the photograph with boxes around objects"
    operation = "drawing boxes around the objects"
    on_photo = True

    def slots(self) -> Mapping[str, str | None]:
        return {}


def _area(box: Sequence[int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
