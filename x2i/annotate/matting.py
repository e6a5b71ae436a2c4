"""matting: an alpha matte of every object that `x2i detect` cut out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.annotate.base import Annotator, Found, ModelAnnotation, StoredImage, Verdict
from x2i.image import encode
from x2i.image.rle import decode_mask
from x2i.models.abilities import Matter
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.tables import IMAGE_TYPE


@dataclass(frozen=True)
class Matting(ModelAnnotation):
    """Refine the mask of every object into an alpha matte: hair, fur, glass.

    entity: number of the object in the column of entities. alpha: 8-bit gray PNG of the image's size, 255 is the
    object. area_share: mean of alpha, as a share of the image.
    """

    name: ClassVar[str] = "matting"
    title: ClassVar[str] = "Alpha mattes of objects"
    rows: ClassVar[Any] = "many"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("entity", pa.int32()),
        pa.field("alpha", IMAGE_TYPE),
        pa.field("area_share", pa.float32()),
    )
    encodings: ClassVar[Mapping[str, str]] = {"alpha": "8-bit gray PNG, linear alpha, 255 is the object"}
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.MATTER}

    model: Annotated[str, Option("The matting model: hf:MODEL, a folder or a name on the Hub.")] = (
        "hf:hustvl/vitmatte-small-composition-1k"
    )
    entities: Annotated[str, Option("The column of entities whose masks are refined.")] = "entities"
    border: Annotated[
        float,
        Option("Width of what is to be found out on either side of a mask's edge, of the longer side.", gt=0, le=0.2),
    ] = 0.02

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.entities,)

    def load(self) -> Annotator:
        return MatteWriter(self.backends()["model"].load(), self.entities, self.border)


class MatteWriter:
    def __init__(self, matter: Matter, column: str, border: float) -> None:
        self._matter, self._column, self._border = matter, column, border

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        cut = [[row for row in image.columns[self._column] if row["mask_counts"]] for image in images]
        pixels = [image.pixels for image, rows in zip(images, cut, strict=True) for _ in rows]
        masks = [decode_mask(row["mask_counts"], *row["mask_size"]) for rows in cut for row in rows]
        trimaps = [trimap(mask_HW, self._border) for mask_HW in masks]
        alphas = iter(self._matter.alphas(pixels, trimaps) if pixels else [])
        verdicts: list[Verdict] = []
        for image, rows in zip(images, cut, strict=True):
            made = tuple(_row(image.key, row["entity"], next(alphas)) for row in rows)
            verdicts.append(Found(made) if made else Dropped(Reason.NO_ENTITY))
        return verdicts


def trimap(mask_HW: NDArray[np.bool_], border: float) -> NDArray[np.uint8]:
    """Returns a trimap_HW: 255 well inside the mask, 0 well outside, 128 within `border` of its edge.

    border: as a share of the longer side. A part of the mask that is thinner than that is to be found out as a whole.
    """
    radius = max(1, round(border * max(mask_HW.shape)))
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    levels = mask_HW.astype(np.uint8)
    inside = cv2.erode(levels, brush, borderType=cv2.BORDER_REPLICATE)
    around = cv2.dilate(levels, brush)
    return np.where(inside > 0, np.uint8(255), np.where(around > 0, np.uint8(128), np.uint8(0)))


def _row(key: str, entity: int, alpha_HW: NDArray[np.float32]) -> dict[str, Any]:
    levels_HW = np.rint(alpha_HW * 255).astype(np.uint8)
    alpha = {"bytes": encode(levels_HW, "png"), "path": f"{key}-{entity}.png"}
    return {"entity": entity, "alpha": alpha, "area_share": float(alpha_HW.mean())}
