"""Edits that a model made: the column `edits` holds the changed image and what the model was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.image.alignment import Alignment, AlignmentKind, measure_alignment
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, ImageMap, RgbImage, Source, Table
from x2i.recipes.edits.base import CHANGED_LEVELS, Edit, Edited
from x2i.recipes.masks import Mask
from x2i.recipes.phrasings.wording import clean
from x2i.recipes.restoration.base import Range

PAINTED = 0.03
"""Of a side: what the features of a painting are off by at most, where its frame is the photograph's."""
LEAST_REGION = 0.3
"""Regions smaller than this share of all that changed are noise of the model's, as in UniWorld's edit masks."""


@dataclass(frozen=True)
class InstructionEdit(Edit):
    """The photograph and an instruction in, what an editing model made of it out.

    A pair whose frame the model shifted, cropped or stretched is dropped. The mask says where the image changed.
    """

    name = "instruction_edit"
    title = "Photograph and instruction to what an editing model made"
    operation = "following an instruction"
    phrasings = "instruction_edit"

    changed: Annotated[
        Range, Option("Share of the pixels that the edit changes visibly; others are dropped.", ge=0, le=1)
    ] = (0.003, 1.0)
    max_outside: Annotated[
        float, Option("Largest mean difference outside of the changed regions, in levels of 255.", ge=0)
    ] = 12.0
    edits: Annotated[str, Option("Column of the changed images.")] = "edits"
    least_agreement: Annotated[
        float, Option("How well both images must agree on one frame; 0 lets unlike ones pass.", ge=0, le=1)
    ] = 0.0

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.edits, images=True),)

    def requires(self) -> Mapping[str, str]:
        return {"has_instruction": "trim(coalesce(candidate.instruction, '')) <> ''"}

    def query(self, tables: frozenset[str]) -> str:
        return f"""
            SELECT [images.key] AS keys, made.instruction, made.model
            FROM "{self.edits}" AS made JOIN images ON images.key = made.key
        """

    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited | Dropped:
        before, made = source.pixels, np.asarray(source.maps[self.edits].values, np.uint8)
        found = measure_alignment(before, made)
        if self.is_moved(found, made.shape) or found.agreement < self.least_agreement:
            return Dropped(Reason.MISALIGNED, found.reason or f"agreement {found.agreement:.2f}")
        after = resized(made, before.shape[1], before.shape[0])
        region = changed_region(before, after)
        said = clean(metadata["instruction"]).rstrip(".")
        request, sentence = said[:1].lower() + said[1:], f"{said[:1].upper()}{said[1:]}"
        parameters = {"editor": metadata["model"], "alignment": found.as_json()}
        return self.sides(before, after, region, request, {"instruction": sentence}, parameters, random)

    def is_moved(self, found: Alignment, shape: tuple[int, ...]) -> bool:
        """Returns whether the frame of a changed image of `shape` (height, width, ...) is another one."""
        return found.kind in (AlignmentKind.CROP, AlignmentKind.STRETCH)

    def sides(
        self,
        before: RgbImage,
        after: RgbImage,
        region: Mask,
        request: str,
        slots: Mapping[str, str | None],
        parameters: Mapping[str, Any],
        random: np.random.Generator,
    ) -> Edited:
        """Returns the sample's two sides and words, from the photograph to what the model made of it."""
        sideways = bool({"left", "right", "west", "east", "clockwise"} & set(request.lower().split()))
        return Edited(before, after, region, region, request, slots, parameters, mirrorable=not sideways)

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        image = photographs[0]
        made = np.ascontiguousarray(image // 2 + np.array([90, 20, 0], np.uint8))
        told = {"instruction": "Make the light a warm red.", "model": "example"}
        return Example((Source(image, {self.edits: ImageMap(made, told)}),), told)


@dataclass(frozen=True)
class Stylize(InstructionEdit):
    """A photograph painted in a style that is described, or a painting turned back into the photograph.

    The column is made by `x2i annotate edits DATASET --model onnx:style --column stylized`; its instructions are
    descriptions of styles.
    """

    name = "stylize"
    title = "Photograph to a painting of it, or back"
    version = 2
    operation = "changing the style"
    phrasings = "stylize"
    requests = (
        "turn this into {style}",
        "paint it as {style}",
        "show the scene as {style}",
        "render it in the style of {style}",
        "redraw everything as {style}",
        "make {style} of it",
    )

    changed: Annotated[
        Range, Option("Share of the pixels that the edit changes visibly; others are dropped.", ge=0, le=1)
    ] = (0.2, 1.0)
    max_outside: Annotated[
        float, Option("Largest mean difference outside of the changed regions, in levels of 255.", ge=0)
    ] = 255.0
    edits: Annotated[str, Option("Column of the painted images.")] = "stylized"
    natural_output: Annotated[float, Option("Chance that the photograph is the output.", ge=0, le=1)] = 0.25

    def is_moved(self, found: Alignment, shape: tuple[int, ...]) -> bool:
        """Strokes lie beside the edges that they paint, so that shifts of a few pixels are no other frame."""
        shift = max(abs(found.offset_x) / shape[1], abs(found.offset_y) / shape[0], abs(found.anisotropy))
        return super().is_moved(found, shape) and shift > PAINTED

    def sides(
        self,
        before: RgbImage,
        after: RgbImage,
        region: Mask,
        request: str,
        slots: Mapping[str, str | None],
        parameters: Mapping[str, Any],
        random: np.random.Generator,
    ) -> Edited:
        everywhere = np.ones_like(region)
        back = bool(random.random() < self.natural_output)
        style = "a realistic photograph" if back else request
        images = (after, before) if back else (before, after)
        recorded = {**parameters, "style": request, "photograph": "output" if back else "input"}
        said = self.said(random, style=style)
        return Edited(
            *images,
            everywhere,
            everywhere,
            said,
            {"style": style, "instruction": said[:1].upper() + said[1:]},
            recorded,
        )

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        image = photographs[0]
        made = np.ascontiguousarray(255 - image // 2)
        told = {"instruction": "a pale negative", "model": "example"}
        return Example((Source(image, {self.edits: ImageMap(made, told)}),), told)


def changed_region(before: RgbImage, after: RgbImage) -> Mask:
    """Returns where two images of one size differ visibly: closed over 5 pixels, without specks."""
    import cv2

    differs = (np.abs(after.astype(np.int16) - before).max(2) > CHANGED_LEVELS).astype(np.uint8)
    closed = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        return closed > 0
    areas = stats[:, cv2.CC_STAT_AREA]
    large = areas >= LEAST_REGION * areas[1:].max()
    large[0] = False
    return np.asarray(large[labels])


def resized(image: NDArray[Any], width: int, height: int) -> RgbImage:
    """Returns an image_HWC in another size."""
    import cv2

    if image.shape[:2] == (height, width):
        return image
    smooth = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=smooth), np.uint8)
