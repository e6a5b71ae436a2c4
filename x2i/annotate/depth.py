"""depth: a depth map of every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.image.maps import encode_map16
from x2i.models.abilities import DepthEstimator
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.tables import IMAGE_TYPE


@dataclass(frozen=True)
class Depth(ModelAnnotation):
    """Estimate a depth map of every image.

    depth: 16-bit gray PNG of the image's size; 0 is the farthest, 65535 the nearest pixel. low, high: the model's own
    inverse depth at 0 and at 65535.
    """

    name: ClassVar[str] = "depth"
    title: ClassVar[str] = "Depth maps"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("depth", IMAGE_TYPE),
        pa.field("low", pa.float32()),
        pa.field("high", pa.float32()),
    )
    kept: ClassVar[str] = "depth IS NOT NULL"
    encodings: ClassVar[Mapping[str, str]] = {"depth": "16-bit gray PNG, linear in inverse depth, near is bright"}
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.DEPTH_ESTIMATOR}

    model: Annotated[str, Option("The estimator: hf:MODEL, a folder or a name on the Hub.")] = (
        "hf:depth-anything/Depth-Anything-V2-Small-hf"
    )

    def load(self) -> Annotator:
        return DepthWriter(self.backends()["model"].load())


class DepthWriter:
    def __init__(self, estimator: DepthEstimator) -> None:
        self._estimator = estimator

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        return [_verdict(image.key, map_HW) for image, map_HW in zip(images, self._estimator.depth(_pixels(images)))]


def _pixels(images: Sequence[StoredImage]) -> list[np.ndarray]:
    return [image.pixels for image in images]


def _verdict(key: str, map_HW: np.ndarray) -> Verdict:
    low, high = float(map_HW.min()), float(map_HW.max())
    if not np.isfinite([low, high]).all() or low == high:
        return Dropped(Reason.UNSUITABLE_IMAGE, f"a depth map from {low} to {high}")
    levels_HW = np.rint((map_HW - low) / (high - low) * 65535).astype(np.uint16)
    return {"depth": {"bytes": encode_map16(levels_HW), "path": f"{key}.png"}, "low": low, "high": high}
