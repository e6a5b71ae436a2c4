"""An object moved, made larger or smaller, or mirrored, over the photograph without it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import RgbImage
from x2i.recipes.edits.base import Edited, found_by, phrase_of, soft
from x2i.recipes.edits.filled import FilledEdit, Plate
from x2i.recipes.edits.objects import seam_of
from x2i.recipes.masks import Mask
from x2i.recipes.restoration.base import draw, one_of

OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up", "larger": "smaller", "smaller": "larger"}


@dataclass(frozen=True)
class Transform:
    """matrix_23: where the object's pixels go. word: what that is called, such as "left". parameters: as recorded."""

    matrix_23: NDArray[np.float64]
    word: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class GeometricEdit(FilledEdit):
    """The object is pasted elsewhere, or in another size, where it was is filled. Either side may be the photograph."""

    version = 2

    natural_output: Annotated[float, Option("Chance that the photograph is the output.", ge=0, le=1)] = 0.5

    @abstractmethod
    def transform(self, mask: Mask, random: np.random.Generator) -> Transform | Dropped:
        """Returns how the object in mask_HW is moved."""

    def edit_object(
        self, image: RgbImage, mask: Mask, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Edited | Dropped:
        found = self.transform(mask, random)
        if isinstance(found, Dropped):
            return found
        moved, after_mask = pasted(image, mask, metadata["plate"], found.matrix_23)
        if after_mask.sum() < 0.8 * abs(np.linalg.det(found.matrix_23[:, :2])) * mask.sum():
            return Dropped(Reason.UNSUITABLE_IMAGE, "the object would leave the picture")
        there, here = metadata["plate"].mask | after_mask, metadata["plate"].mask
        back = bool(random.random() < self.natural_output)
        word = OPPOSITE.get(found.word, found.word) if back else found.word
        sides = (moved, image, there, here) if back else (image, moved, here, there)
        phrase = phrase_of(metadata, after_mask if back else None)
        return Edited(
            *sides,
            self.said(random, phrase=phrase, word=word),
            {"phrase": phrase, "word": word},
            {**found_by(metadata), **found.parameters, "word": word, "photograph": "output" if back else "input"},
            seam_of(metadata),
            mirrorable=word not in ("left", "right"),
        )


@dataclass(frozen=True)
class MoveObject(GeometricEdit):
    """An object moved by 10 to 35 per cent of the picture's side."""

    name = "move_object"
    title = "Photograph to the photograph with an object elsewhere"
    operation = "moving an object"
    requests = (
        "move {phrase} {to}",
        "shift {phrase} {to}",
        "put {phrase} farther {to}",
        "slide {phrase} {to} and repair the background",
        "move {phrase} {to}, at the same size",
        "drag {phrase} {to}",
    )

    distance: Annotated[
        tuple[float, float], Option("How far, as a share of the picture's width or height.", gt=0, le=0.8)
    ] = (0.1, 0.35)

    def transform(self, mask: Mask, random: np.random.Generator) -> Transform | Dropped:
        height, width = mask.shape
        ys, xs = np.nonzero(mask)
        low = self.distance[0]
        room = {
            "left": xs.min() / width,
            "right": (width - 1 - xs.max()) / width,
            "up": ys.min() / height,
            "down": (height - 1 - ys.max()) / height,
        }
        free = tuple(word for word, share in room.items() if share >= low)
        if not free:
            return Dropped(Reason.UNSUITABLE_IMAGE, "there is no room to move the object")
        word = one_of(free, random)
        share = draw((low, min(self.distance[1], float(room[word]))), random)
        across, down = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[word]
        move = [round(across * share * width), round(down * share * height)]
        matrix = np.array([[1, 0, move[0]], [0, 1, move[1]]], np.float64)
        return Transform(matrix, word, {"move_px": move, "distance": share})

    def said(self, random: np.random.Generator, **slots: str) -> str:
        word = slots.pop("word")
        return super().said(random, to=f"to the {word}" if word in ("left", "right") else word, **slots)


@dataclass(frozen=True)
class ResizeObject(GeometricEdit):
    """An object 1.25 to 1.7 times as large, or smaller by as much; what stands at the bottom stays standing there."""

    name = "resize_object"
    title = "Photograph to the photograph with a larger or smaller object"
    operation = "resizing an object"
    requests = (
        "make {phrase} {word}",
        "resize {phrase} to be {word}",
        "show {phrase} {word} than now",
        "scale {phrase} to look {word}",
        "let {phrase} appear {word}",
        "redraw {phrase} in a {word} size",
    )

    factor: Annotated[tuple[float, float], Option("How many times as large or as small.", gt=1, le=4)] = (1.25, 1.7)

    def transform(self, mask: Mask, random: np.random.Generator) -> Transform | Dropped:
        factor, word = draw(self.factor, random), one_of(("larger", "smaller"), random)
        scale = factor if word == "larger" else 1 / factor
        ys, xs = np.nonzero(mask)
        x, y = float(xs.mean()), float(ys.max())
        matrix = np.array([[scale, 0, x - scale * x], [0, scale, y - scale * y]], np.float64)
        return Transform(matrix, word, {"scale": round(scale, 4)})


@dataclass(frozen=True)
class MirrorObject(GeometricEdit):
    """An object mirrored at its place, left and right exchanged."""

    name = "mirror_object"
    title = "Photograph to the photograph with an object mirrored"
    operation = "mirroring an object"
    requests = (
        "mirror {phrase}",
        "flip {phrase} horizontally",
        "turn {phrase} around to face the other way",
        "swap the left and the right side of {phrase}",
    )

    def transform(self, mask: Mask, random: np.random.Generator) -> Transform | Dropped:
        xs = np.nonzero(mask)[1]
        matrix = np.array([[-1, 0, float(xs.min() + xs.max())], [0, 1, 0]], np.float64)
        return Transform(matrix, "mirrored", {})


def pasted(image: RgbImage, mask: Mask, plate: Plate, matrix_23: NDArray[np.float64]) -> tuple[RgbImage, Mask]:
    """Returns the photograph without the object in mask_HW, with it laid over elsewhere, and its new mask."""
    import cv2

    size = mask.shape[::-1]
    weights = cv2.warpAffine(soft(mask)[..., 0], matrix_23, size, flags=cv2.INTER_LINEAR)[..., None]
    moved = cv2.warpAffine(image, matrix_23, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    after_mask = cv2.warpAffine(mask.astype(np.uint8), matrix_23, size, flags=cv2.INTER_LINEAR) > 0
    mixed = plate.pixels + weights * (moved.astype(np.float32) - plate.pixels)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8), after_mask
