"""inpainting: every image without one of its objects, for edits that add, remove or move it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.image import encode
from x2i.image.rle import decode_mask, encode_mask
from x2i.models.abilities import Inpainter
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.tables import IMAGE_TYPE

Mask = NDArray[np.bool_]
SIDES = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Inpainting(ModelAnnotation):
    """Take one object out of every image and fill its place from the surroundings.

    Of the objects with a mask and a phrase of their own, the best scored one of a fit size is taken.
    entity: its number in the column of entities. x0, y0, x1, y1: the box that holds what was filled, half-open.
    fill: that box, RGB PNG. mask_size, mask_counts: what was filled, (height, width) and COCO's compressed run lengths:
    the object's mask and a border. seam: mean step of the colors from the filled part to its surroundings, in levels of
    255; of a good filling it is about that between any two neighboring pixels.
    """

    name: ClassVar[str] = "inpainting"
    title: ClassVar[str] = "Images without one of their objects"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("entity", pa.int32()),
        *(pa.field(side, pa.int32()) for side in SIDES),
        pa.field("fill", IMAGE_TYPE),
        pa.field("mask_size", pa.list_(pa.int32())),
        pa.field("mask_counts", pa.string()),
        pa.field("seam", pa.float32()),
    )
    kept: ClassVar[str] = "entity IS NOT NULL"
    encodings: ClassVar[Mapping[str, str]] = {"fill": "RGB PNG, the box x0, y0, x1, y1 of the filled image"}
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.INPAINTER}

    model: Annotated[str, Option("The inpainter: classic:exemplar, classic:telea, or diffusers:MODEL.")] = (
        "classic:exemplar"
    )
    entities: Annotated[str, Option("The column of entities with masks.")] = "entities"
    coverage: Annotated[tuple[float, float], Option("Share of the image that the object covers.", ge=0, le=1)] = (
        0.003,
        0.3,
    )
    border: Annotated[
        float, Option("Width of the border around the object, as a share of the shorter side.", ge=0, le=0.2)
    ] = 0.02

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.entities,)

    def load(self) -> Annotator:
        return ObjectRemover(self.backends()["model"].load(), self)


class ObjectRemover:
    def __init__(self, inpainter: Inpainter, options: Inpainting) -> None:
        self._inpainter, self._options = inpainter, options

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        chosen = [self._chosen(image.columns[self._options.entities]) for image in images]
        places = [place for place, row in enumerate(chosen) if row is not None]
        masks = [
            widened(decode_mask(row["mask_counts"], *row["mask_size"]), self._options.border)
            for row in chosen
            if row is not None
        ]
        filled = self._inpainter.inpaint([images[place].pixels for place in places], masks) if places else []
        verdicts: list[Verdict] = [Dropped(Reason.NO_ENTITY, "no object of a fit size") for _ in images]
        for place, mask_HW, pixels in zip(places, masks, filled, strict=True):
            row = chosen[place]
            assert row is not None
            verdicts[place] = filled_row(images[place].key, row["entity"], pixels, mask_HW)
        return verdicts

    def _chosen(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        counts = Counter((row["phrase"] or "").strip().lower() for row in rows)
        low, high = self._options.coverage
        fit = [
            row
            for row in rows
            if row["mask_counts"]
            and (name := (row["phrase"] or "").strip().lower())
            and counts[name] == 1
            and low <= _share(row) <= high
        ]
        return max(fit, key=lambda row: (row["score"] or 0, -row["entity"]), default=None)


def filled_row(key: str, entity: int, pixels: NDArray[np.uint8], mask_HW: Mask) -> dict[str, Any]:
    """Returns the row of a filled image_HWC and the mask of what was filled."""
    ys, xs = np.nonzero(mask_HW)
    x0, y0, x1, y1 = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
    fill = {"bytes": encode(np.ascontiguousarray(pixels[y0:y1, x0:x1]), "png"), "path": f"{key}-{entity}.png"}
    return {
        "entity": entity,
        **dict(zip(SIDES, (x0, y0, x1, y1))),
        "fill": fill,
        "mask_size": list(mask_HW.shape),
        "mask_counts": encode_mask(mask_HW),
        "seam": seam(pixels, mask_HW),
    }


def widened(mask_HW: Mask, share: float) -> Mask:
    """Returns the mask grown by `share` of the shorter side, at least 2 pixels."""
    reach = 2 * max(2, round(share * min(mask_HW.shape))) + 1
    return cv2.dilate(mask_HW.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0


def seam(pixels: NDArray[np.uint8], mask_HW: Mask) -> float:
    """Returns the mean absolute difference of neighboring pixels of which one is in the mask; 0 if there are none."""
    values = pixels.astype(np.int16)
    steps = []
    for axis in (0, 1):
        across = np.diff(mask_HW, axis=axis)
        steps.append(np.abs(np.diff(values, axis=axis))[across].mean(1))
    found = np.concatenate(steps)
    return float(found.mean()) if len(found) else 0.0


def _share(row: Mapping[str, Any]) -> float:
    share = row.get("area_share")
    if share is not None:
        return float(share)
    return float(decode_mask(row["mask_counts"], *row["mask_size"]).mean())
