"""segmentation: what every pixel of every image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.image import encode
from x2i.image.class_colors import class_colors
from x2i.image.maps import encode_map16
from x2i.models.abilities import SemanticSegmenter
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.tables import IMAGE_TYPE

UNKNOWN = 65535
BLACK = np.zeros((1, 3), np.uint8)


@dataclass(frozen=True)
class Segmentation(ModelAnnotation):
    """Segment every image into the classes of a model.

    segmentation: 8-bit RGB PNG, each class in the color that the palette gives it, black where there is none.
    ids: 16-bit gray PNG of class numbers, 65535 where there is none. palette: "ade20k" if the model has its 150
    classes, else "voc". classes, labels, shares: numbers and names of the classes in this image and their shares of
    it, largest first.
    """

    name: ClassVar[str] = "segmentation"
    title: ClassVar[str] = "Semantic segmentation: colors and class numbers"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("segmentation", IMAGE_TYPE),
        pa.field("ids", IMAGE_TYPE),
        pa.field("palette", pa.string()),
        pa.field("classes", pa.list_(pa.int32())),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("shares", pa.list_(pa.float32())),
    )
    encodings: ClassVar[Mapping[str, str]] = {
        "segmentation": "8-bit RGB PNG, color of each class by `palette`, black where there is none",
        "ids": "16-bit gray PNG, class number of the model, 65535 where there is none",
    }
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.SEMANTIC_SEGMENTER}

    model: Annotated[str, Option("The segmenter: hf:MODEL, a folder or a name on the Hub.")] = (
        "hf:nvidia/segformer-b5-finetuned-ade-640-640"
    )

    def load(self) -> Annotator:
        return ClassWriter(self.backends()["model"].load())


class ClassWriter:
    def __init__(self, segmenter: SemanticSegmenter) -> None:
        self._segmenter = segmenter
        self._palette, self._colors_C3 = class_colors(len(segmenter.labels))

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        maps = self._segmenter.classes([image.pixels for image in images])
        return [self._row(image.key, classes_HW) for image, classes_HW in zip(images, maps, strict=True)]

    def _row(self, key: str, classes_HW: NDArray[np.int64]) -> Verdict:
        found, counts = np.unique(classes_HW[classes_HW >= 0], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        colors_C3 = np.vstack([self._colors_C3, BLACK])  # -1 is the last one
        ids_HW = np.where(classes_HW < 0, UNKNOWN, classes_HW).astype(np.uint16)
        return {
            "segmentation": {"bytes": encode(colors_C3[classes_HW], "png"), "path": f"{key}.png"},
            "ids": {"bytes": encode_map16(ids_HW), "path": f"{key}-ids.png"},
            "palette": self._palette,
            "classes": found[order].tolist(),
            "labels": [self._segmenter.labels[number] for number in found[order]],
            "shares": (counts[order] / classes_HW.size).tolist(),
        }
