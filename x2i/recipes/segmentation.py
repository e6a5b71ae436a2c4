"""The segmentation family: a photograph and a noun phrase in; that object painted blue, cut out, or as a mask out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes.base import Rendered, RgbImage, Source
from x2i.recipes.masks import Mask
from x2i.recipes.named_object import NamedObject
from x2i.recipes.phrasings.wording import definite

BLUE = (0, 0, 255)


@dataclass(frozen=True)
class ReferringSegmentation(NamedObject):
    """The object is covered by pure blue, so that the mask can be read back from a picture that a model made.

    A phrase that fits two entities of one image refers to neither; such entities are not selected.
    """

    name = "referring_segmentation"
    title = "Photograph and phrase to the object painted blue"
    family = "segmentation"
    operation = "painting the named object blue"
    shown_by_example = False  # which object is meant is only said in words
    lossless = ("output",)
    mirrorable = True
    computer_vision = True
    bytes_per_pixel = 2.0

    coverage: Annotated[
        tuple[float, float], Option("Share of the picture that the object covers; others are dropped.", ge=0, le=1)
    ] = (0.005, 0.8)

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        image, phrase, mask = source.pixels, metadata["phrase"], self.mask_of(source, metadata)
        if isinstance(mask, Dropped):
            return mask
        parameters = {"phrase": phrase, **self.said(), "coverage": round(float(mask.mean()), 5)}
        parameters |= {"detector": metadata["model"], "segmenter": metadata["segmenter"]}
        scores = {} if metadata["score"] is None else {f"{self.entities}.score": metadata["score"]}
        return Rendered((image,), self.shown(image, mask), {"phrase": definite(phrase)}, parameters, scores)

    def said(self) -> Mapping[str, Any]:
        """Returns what the parameters say about how the object is shown."""
        return {"rgb": list(BLUE)}

    def shown(self, image: RgbImage, mask: Mask) -> RgbImage:
        """Returns the output for a photograph_HWC and the mask_HW of the object."""
        painted = image.copy()
        painted[mask] = BLUE
        return painted


@dataclass(frozen=True)
class ExtractObject(ReferringSegmentation):
    """The object at its place, everything else white."""

    name = "extract_object"
    title = "Photograph and phrase to the object on white"
    operation = "cutting out the named object"

    def said(self) -> Mapping[str, Any]:
        return {"background": [255, 255, 255]}

    def shown(self, image: RgbImage, mask: Mask) -> RgbImage:
        return np.where(mask[..., None], image, np.uint8(255))


@dataclass(frozen=True)
class ObjectMask(ReferringSegmentation):
    """The object white, everything else black."""

    name = "object_mask"
    title = "Photograph and phrase to a mask of the object"
    operation = "masking the named object"
    bytes_per_pixel = 0.6

    def said(self) -> Mapping[str, Any]:
        return {"rgb": [255, 255, 255]}

    def shown(self, image: RgbImage, mask: Mask) -> RgbImage:
        return np.repeat(mask[..., None].astype(np.uint8) * np.uint8(255), 3, 2)
