"""Objects added and removed: the photograph is one side, the photograph without the object the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from x2i.recipes.base import RgbImage
from x2i.recipes.edits.base import Edited, found_by, phrase_of, place_of
from x2i.recipes.edits.filled import FilledEdit
from x2i.recipes.masks import Mask
from x2i.recipes.phrasings.wording import indefinite, without_place

REMOVALS = (
    "remove {phrase}",
    "take {phrase} away",
    "erase {phrase}",
    "get rid of {phrase}",
    "remove {phrase} and fill in the background",
    "clear {phrase} away",
    "paint over {phrase} with the background",
)


@dataclass(frozen=True)
class RemoveObject(FilledEdit):
    """The photograph in, the photograph with the object's place filled out."""

    name = "remove_object"
    title = "Photograph to the photograph without an object"
    operation = "removing an object"
    requests = REMOVALS

    def edit_object(
        self, image: RgbImage, mask: Mask, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Edited:
        without, phrase = metadata["plate"], phrase_of(metadata)
        request = self.said(random, phrase=phrase)
        slots, nowhere = {"phrase": phrase}, np.zeros_like(mask)
        return Edited(
            image, without.pixels, without.mask, nowhere, request, slots, found_by(metadata), seam_of(metadata)
        )


@dataclass(frozen=True)
class AddObject(FilledEdit):
    """The photograph with the object's place filled in, the photograph out."""

    name = "add_object"
    title = "Photograph without an object to the photograph with it"
    version = 2
    operation = "adding an object"
    requests = (
        "add {phrase}",
        "insert {phrase}",
        "paint in {phrase}",
        "include {phrase}",
        "place {phrase}",
        "put {phrase} into the scene",
        "draw {phrase}",
    )

    def edit_object(
        self, image: RgbImage, mask: Mask, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Edited:
        without, phrase, place = metadata["plate"], indefinite(without_place(metadata["phrase"])), place_of(mask)
        request = self.said(random, phrase=phrase) + (f" {place}" if random.random() < 0.7 else "")
        return Edited(
            without.pixels,
            image,
            np.zeros_like(mask),
            without.mask,
            request,
            {"phrase": phrase, "place": place},
            {**found_by(metadata), "place": place},
            seam_of(metadata),
            mirrorable=not ("left" in place or "right" in place),
        )


def seam_of(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Returns the score that a sample keeps of how its object's place was filled."""
    return {"inpainting.seam": round(float(metadata["seam"]), 3)}
