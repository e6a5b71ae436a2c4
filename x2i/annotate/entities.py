"""entities: the objects of every image, each with a box, a mask and a phrase that tells it from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pyarrow as pa

from x2i.annotate.base import Annotator, Found, ModelAnnotation, StoredImage, Verdict
from x2i.annotate.referring_expressions import Region, refer
from x2i.image.rle import encode_mask
from x2i.models.abilities import Detection, Detector, RgbImage, Segmenter
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason

SIDES = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Entities(ModelAnnotation):
    """Find the objects of every image: a box, a mask and a phrase for each.

    entity: number of the object in its image. phrase: fits no other entity of the image, null where no words tell it
    from another. x0, y0, x1, y1: box in pixels of the stored image, half-open. score: of the detector, 0 to 1.
    mask_size, mask_counts: (height, width) and COCO's compressed run lengths, null where it could not be cut out.
    """

    name: ClassVar[str] = "entities"
    title: ClassVar[str] = "Objects: boxes, masks, phrases"
    made_by: ClassVar[str] = "detect"
    rows: ClassVar[Any] = "many"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("entity", pa.int32()),
        pa.field("phrase", pa.string()),
        *(pa.field(side, pa.int32()) for side in SIDES),
        pa.field("score", pa.float32()),
        pa.field("mask_size", pa.list_(pa.int32())),
        pa.field("mask_counts", pa.string()),
    )
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.DETECTOR, "segmenter": Ability.SEGMENTER}

    model: Annotated[str, Option("The detector. classic:saliency finds what stands out by color, without weights.")] = (
        "classic:saliency"
    )
    segmenter: Annotated[str, Option("The segmenter that cuts each object out of its box.")] = "classic:grabcut"

    def load(self) -> Annotator:
        found = self.backends()
        return EntityFinder(found["model"].load(), found["segmenter"].load())


class EntityFinder:
    def __init__(self, detector: Detector, segmenter: Segmenter) -> None:
        self._detector, self._segmenter = detector, segmenter

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        pixels = [image.pixels for image in images]
        detections = self._detector.detect(pixels)
        masks = self._segmenter.segment(pixels, [[found.box for found in of_image] for of_image in detections])
        return [_verdict(*parts) for parts in zip(pixels, detections, masks, strict=True)]


def _verdict(image: RgbImage, detections: Sequence[Detection], masks: Sequence[Any]) -> Verdict:
    """A detector that cannot name what it finds leaves the phrase to what can be measured: color, place, size."""
    if not detections:
        return Dropped(Reason.NO_ENTITY)
    regions = [Region(detection.box, mask) for detection, mask in zip(detections, masks, strict=True)]
    rows = [
        {
            "entity": number,
            "phrase": detection.phrase or phrase,
            **{side: getattr(detection.box, side) for side in SIDES},
            "score": detection.score,
            "mask_size": None if region.mask_HW is None else list(region.mask_HW.shape),
            "mask_counts": None if region.mask_HW is None else encode_mask(region.mask_HW),
        }
        for number, (detection, region, phrase) in enumerate(zip(detections, regions, refer(image, regions)))
    ]
    return Found(tuple(rows))
