"""normals: a map of every image that says which way each surface faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.image import encode
from x2i.models.abilities import NormalEstimator
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.tables import IMAGE_TYPE


@dataclass(frozen=True)
class Normals(ModelAnnotation):
    """Estimate the surface normals of every image.

    normals: 8-bit RGB PNG of the image's size; red, green and blue are x, y and z of a vector of length 1, -1 at 0 and
    1 at 255. flipped: the axes that were turned round, "" for none. Models disagree in where their axes point: look at
    one map (`x2i inspect DATASET --column normals`) and turn round those that differ from what your training expects.
    """

    name: ClassVar[str] = "normals"
    title: ClassVar[str] = "Surface normals"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("normals", IMAGE_TYPE), pa.field("flipped", pa.string()))
    kept: ClassVar[str] = "normals IS NOT NULL"
    encodings: ClassVar[Mapping[str, str]] = {
        "normals": "8-bit RGB PNG, RGB = XYZ, (n + 1) / 2 * 255; axes as the model gives them, but those in `flipped`"
    }
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.NORMAL_ESTIMATOR}

    model: Annotated[str, Option("The estimator: hf:MODEL, a folder or a name on the Hub.")] = (
        "hf:facebook/sapiens2-normal-0.4b"
    )
    flip: Annotated[tuple[Literal["x", "y", "z"], ...], Option("An axis to turn round; may be repeated.")] = ()

    def load(self) -> Annotator:
        return NormalWriter(self.backends()["model"].load(), self.flip)


class NormalWriter:
    def __init__(self, estimator: NormalEstimator, flip: Sequence[str]) -> None:
        self._estimator, self._flipped = estimator, "".join(axis for axis in "xyz" if axis in flip)

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        maps = self._estimator.normals([image.pixels for image in images])
        return [self._verdict(image.key, normals_HW3) for image, normals_HW3 in zip(images, maps, strict=True)]

    def _verdict(self, key: str, normals_HW3: NDArray[np.float32]) -> Verdict:
        if not np.isfinite(normals_HW3).all():
            return Dropped(Reason.UNSUITABLE_IMAGE, "a normal that is no number")
        signs = np.array([-1 if axis in self._flipped else 1 for axis in "xyz"], np.float32)
        levels_HW3 = np.rint((normals_HW3 * signs + 1) * 127.5).clip(0, 255).astype(np.uint8)
        return {"normals": {"bytes": encode(levels_HW3, "png"), "path": f"{key}.png"}, "flipped": self._flipped}
