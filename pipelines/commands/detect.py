"""`x2i detect`: finds objects in every stored image, cuts them out and says which is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from numpy.typing import NDArray

from pipelines.engine.options import DatasetArgument, RunOptions, stage_command
from pipelines.stages.annotate import AnnotateStage, Annotation
from x2i.reasons import Reason

ENTITY_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("entity", pa.int32()),  # counted from 0 within the image
        ("phrase", pa.string()),  # fits no other entity of the image; null where no words tell it from another
        ("x0", pa.int32()),  # box in pixels of the stored image, half-open
        ("y0", pa.int32()),
        ("x1", pa.int32()),
        ("y1", pa.int32()),
        ("score", pa.float32()),
        ("mask_size", pa.list_(pa.int32())),  # height, width
        ("mask_counts", pa.string()),  # COCO compressed RLE, null where the object could not be cut out
        ("model", pa.string()),
        ("segmenter", pa.string()),
    ]
)


@dataclass(frozen=True)
class DetectStage(AnnotateStage):
    """images -> columns/entities: one row per object."""

    model: str = "classic:saliency"
    segmenter: str = "classic:grabcut"

    name = "detect"
    format_version = 1
    column = "entities"

    def config(self) -> dict[str, Any]:
        return {"model": self.model, "segmenter": self.segmenter}

    def annotator(self) -> EntityAnnotator:
        return EntityAnnotator(self.model, self.segmenter)


class EntityAnnotator:
    """One row per object; an image without any counts as dropped, for NO_ENTITY.

    A detector that cannot name what it finds leaves the phrase to referring_expressions, which says what was measured.
    """

    schema = ENTITY_SCHEMA
    needs_pixels = True

    def __init__(self, model: str, segmenter: str) -> None:
        from x2i.models import registry

        self._stamp = {"model": model, "segmenter": segmenter}
        self._detector, self._segmenter = registry.detector(model), registry.segmenter(segmenter)

    def annotate(
        self, rows: Sequence[Mapping[str, Any]], images: Sequence[NDArray[np.uint8] | None]
    ) -> list[Annotation]:
        from x2i.annotate.referring_expressions import Region, refer
        from x2i.image.rle import encode_mask

        pixels = [image for image in images if image is not None]
        found = self._detector.detect(pixels)
        masks = self._segmenter.segment(pixels, [[d.box for d in detections] for detections in found])
        annotations = []
        for image, detections, cut in zip(pixels, found, masks, strict=True):
            regions = [Region(d.box, mask) for d, mask in zip(detections, cut, strict=True)]
            entities = [
                {
                    "entity": number,
                    "phrase": detection.phrase or phrase,
                    **{side: getattr(detection.box, side) for side in ("x0", "y0", "x1", "y1")},
                    "score": detection.score,
                    "mask_size": None if region.mask_HW is None else list(region.mask_HW.shape),
                    "mask_counts": None if region.mask_HW is None else encode_mask(region.mask_HW),
                    **self._stamp,
                }
                for number, (detection, region, phrase) in enumerate(zip(detections, regions, refer(image, regions)))
            ]
            annotations.append(Annotation(tuple(entities), None if entities else Reason.NO_ENTITY))
        return annotations


@stage_command
def command(
    dataset: DatasetArgument,
    model: Annotated[
        str, typer.Option(help="Which detector. classic:saliency finds what stands out by color, without weights.")
    ] = "classic:saliency",
    segmenter: Annotated[
        str, typer.Option(help="Which segmenter cuts each object out of its box. classic:grabcut needs no weights.")
    ] = "classic:grabcut",
    *,
    run: RunOptions,
) -> None:
    """Find the objects of every image: a box, a mask and a phrase for each.

    The column `entities` has one row per object. The phrase tells the object from the others of its image ("the red
    object on the left"); it states only what was measured. Masks are COCO run-length strings.

    Example: x2i detect my-dataset --model classic:saliency --segmenter classic:grabcut
    """
    from pipelines.engine.run import run_stages
    from x2i.models import registry
    from x2i.store import Dataset

    registry.check(registry.Ability.DETECTOR, model)
    registry.check(registry.Ability.SEGMENTER, segmenter)
    run_stages([DetectStage(model, segmenter)], Dataset.open(dataset), run)
