"""What edit recipes share: masks of what changes, the measures that a sample must pass, and objects to edit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import PairRecipe, Rendered, RgbImage, Source
from x2i.recipes.masks import Mask
from x2i.recipes.named_object import NamedObject
from x2i.recipes.phrasings import filled
from x2i.recipes.phrasings.wording import clean, definite, without_place
from x2i.recipes.restoration.base import Range, one_of

CHANGED_LEVELS = 18
"""A pixel has changed if one of its values differs by more; the public edit weights (UniWorld) use the same."""


@dataclass(frozen=True)
class Edited:
    """An edit before it is measured: both images, uint8 RGB (height, width, 3) of one size.

    before_mask, after_mask: where the edited thing is in either; empty where it is absent. request: the edit as an
    imperative, "remove the cup". The rest as in `Rendered`.
    """

    before: RgbImage
    after: RgbImage
    before_mask: Mask
    after_mask: Mask
    request: str
    slots: Mapping[str, str | None] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    mirrorable: bool = True


@dataclass(frozen=True)
class Edit(PairRecipe):
    """A recipe that changes a photograph in a known way. One of the two images is the photograph, untouched.

    requests: ways of saying what is to be done, as imperatives with slots that `said` fills.
    """

    family = "edits"
    shown_by_example = False  # what is to be done is only said in words
    mirrorable = True
    phrasings = "edit"
    bytes_per_pixel = 0.8
    requests: ClassVar[tuple[str, ...]] = ()

    changed: Annotated[
        Range, Option("Share of the pixels that the edit changes visibly; others are dropped.", ge=0, le=1)
    ] = (0.003, 0.9)
    max_outside: Annotated[
        float, Option("Largest mean difference outside of the edited masks, in levels of 255.", ge=0)
    ] = 1.0

    @abstractmethod
    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited | Dropped:
        """Returns both sides of the edit, or says why this photograph is not fit for it."""

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        edited = self.edit(source, metadata, random)
        return edited if isinstance(edited, Dropped) else self.measured(edited)

    def said(self, random: np.random.Generator, **slots: str) -> str:
        """Returns one of the `requests`, its slots filled."""
        return filled(one_of(self.requests, random), slots)

    def measured(self, edited: Edited) -> Rendered | Dropped:
        """Returns the sample with its masks and measures, or says which of the measures it fails."""
        from x2i.image.rle import encode_mask

        difference_HW = np.abs(edited.after.astype(np.int16) - edited.before).max(2)
        share = float((difference_HW > CHANGED_LEVELS).mean())
        if not self.changed[0] <= share <= self.changed[1]:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the edit changes {share:.2%} of the picture")
        outside = ~(edited.before_mask | edited.after_mask)
        error = float(difference_HW[outside].mean()) if outside.any() else 0.0
        if error > self.max_outside:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"{error:.1f} levels of change outside of what is edited")
        masks = {
            "mask_size": list(edited.before_mask.shape),
            "before_mask": encode_mask(edited.before_mask),
            "after_mask": encode_mask(edited.after_mask),
        }
        scores = {"changed_share": round(share, 5), "outside_error": round(error, 4), **edited.scores}
        slots = {"request": edited.request, **edited.slots}
        parameters = {"request": edited.request, **edited.parameters, **masks}
        return Rendered((edited.before,), edited.after, slots, parameters, scores, edited.mirrorable)


@dataclass(frozen=True)
class ObjectEdit(Edit, NamedObject):
    """An edit of one found object, whose phrase fits no other object of the picture."""

    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited | Dropped:
        mask = self.mask_of(source, metadata)
        return mask if isinstance(mask, Dropped) else self.edit_object(source.pixels, mask, metadata, random)

    @abstractmethod
    def edit_object(
        self, image: RgbImage, mask: Mask, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Edited | Dropped:
        """Returns both sides of the edit of the object in mask_HW."""


def phrase_of(metadata: Mapping[str, Any], mask: Mask | None = None) -> str:
    """Returns the entity's phrase as it stands in a request: "a red cup" as "the red cup".

    mask: where the entity is in the picture that the request is about, if that is not where it was found. A phrase
    that says where it was then says where it is.
    """
    bare = without_place(metadata["phrase"])
    if mask is None or bare == clean(metadata["phrase"]):
        return definite(metadata["phrase"])
    return f"{definite(bare)} {place_of(mask)}"


def place_of(mask: Mask) -> str:
    """Returns where mask_HW lies, as a picture is divided into thirds: "at the top left"."""
    ys, xs = np.nonzero(mask)
    row = int(3 * (ys.mean() + 0.5) / mask.shape[0])
    column = int(3 * (xs.mean() + 0.5) / mask.shape[1])
    rows, columns = ("top", "", "bottom"), ("left", "", "right")
    if row == column == 1:
        return "in the middle"
    if row == 1:
        return f"on the {columns[column]}"
    return " ".join(f"at the {rows[row]} {columns[column]}".split())


def found_by(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the parameters of a sample say about the entity that was edited."""
    return {"phrase": metadata["phrase"], "detector": metadata["model"], "segmenter": metadata["segmenter"]}


def soft(mask: Mask, width: float = 1.0) -> np.ndarray:
    """Returns mask_HW as weights_HW1, 0 to 1, its edge softened inwards over about `width` pixels."""
    import cv2

    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    weights = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), width)
    return np.asarray(np.where(mask, weights, 0)[..., None], np.float32)


def laid_over(image: RgbImage, painted: np.ndarray, mask: Mask, width: float = 1.0) -> RgbImage:
    """Returns image_HWC with `painted` (uint8 or float, same shape) inside of mask_HW, softly at its edge."""
    weights = soft(mask, width)
    return np.clip(np.rint(image + weights * (painted.astype(np.float32) - image)), 0, 255).astype(np.uint8)
