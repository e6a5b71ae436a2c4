"""edges: an edge map of every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.image import encode
from x2i.models.abilities import EdgeDetector
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.tables import IMAGE_TYPE


@dataclass(frozen=True)
class Edges(ModelAnnotation):
    """Draw the edges of every image.

    edges: 8-bit gray PNG of the image's size, white on black. density: share of the pixels that are brighter than half.
    """

    name: ClassVar[str] = "edges"
    title: ClassVar[str] = "Edge maps"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("edges", IMAGE_TYPE), pa.field("density", pa.float32()))
    kept: ClassVar[str] = "edges IS NOT NULL"
    encodings: ClassVar[Mapping[str, str]] = {"edges": "8-bit gray PNG, white edges on black"}
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.EDGE_DETECTOR}

    model: Annotated[
        str, Option("classic:canny: thin edges; classic:xdog: thick strokes; hed:FILE, pidinet:FILE: soft contours.")
    ] = "classic:canny"

    def load(self) -> Annotator:
        return EdgeWriter(self.backends()["model"].load())


class EdgeWriter:
    def __init__(self, detector: EdgeDetector) -> None:
        self._detector = detector

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        maps = self._detector.edges([image.pixels for image in images])
        return [
            {
                "edges": {"bytes": encode(edges_HW, "png"), "path": f"{image.key}.png"},
                "density": float(np.mean(edges_HW > 127)),
            }
            for image, edges_HW in zip(images, maps, strict=True)
        ]
