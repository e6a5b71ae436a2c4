"""entities: the objects of every image, each with a box, a mask and a phrase that tells it from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.annotate.base import Annotator, Found, ModelAnnotation, StoredImage, Verdict
from x2i.annotate.referring_expressions import Region, refer
from x2i.annotate.suppression import suppressed
from x2i.errors import UserError
from x2i.image.rle import encode_mask
from x2i.models.abilities import (
    Detection,
    Detector,
    ImageClassifier,
    PhraseExtractor,
    RgbImage,
    Segment,
    Segmenter,
)
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason

SIDES = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Entities(ModelAnnotation):
    """Find the objects of every image: a box, a mask and a phrase for each.

    What is looked for are the phrases that you list, the things that a caption column names, and what a tagger (an
    image classifier) sees: any of the three, or all together. A detector that finds objects by itself ignores them.
    Where a detector gives masks of its own, such as SAM3, no segmenter is asked: --segmenter "" leaves it out.

    entity: number of the object in its image, best score first. label: the phrase that it was found by, null if the
    detector cannot name it. phrase: fits no other entity of the image, null where no words tell it from another.
    x0, y0, x1, y1: box in pixels of the stored image, half-open. score: of the detector, 0 to 1. area_share: of the
    image's area, the mask's if there is one, else the box's. mask_size, mask_counts: (height, width) and COCO's
    compressed run lengths, null where it could not be cut out. mask_score: the segmenter's estimate of the mask's
    quality, 0 to 1, null if it makes none.
    """

    name: ClassVar[str] = "entities"
    title: ClassVar[str] = "Objects: boxes, masks, phrases"
    made_by: ClassVar[str] = "detect"
    version: ClassVar[int] = 3
    rows: ClassVar[Any] = "many"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("entity", pa.int32()),
        pa.field("label", pa.string()),
        pa.field("phrase", pa.string()),
        *(pa.field(side, pa.int32()) for side in SIDES),
        pa.field("score", pa.float32()),
        pa.field("area_share", pa.float32()),
        pa.field("mask_size", pa.list_(pa.int32())),
        pa.field("mask_counts", pa.string()),
        pa.field("mask_score", pa.float32()),
    )
    uses: ClassVar[Mapping[str, Ability]] = {
        "model": Ability.DETECTOR,
        "segmenter": Ability.SEGMENTER,
        "extractor": Ability.PHRASE_EXTRACTOR,
        "tagger": Ability.IMAGE_CLASSIFIER,
    }

    model: Annotated[str, Option("The detector. classic:saliency finds what stands out by color, without weights.")] = (
        "classic:saliency"
    )
    segmenter: Annotated[str, Option('What cuts each object out of its box; "" for boxes alone.')] = "classic:grabcut"
    phrases: Annotated[tuple[str, ...], Option("What to look for in every image; may be repeated.")] = ()
    phrases_from: Annotated[
        str, Option("The column of captions whose things are looked for, each in its own image.", metavar="COLUMN")
    ] = ""
    extractor: Annotated[
        str, Option("What finds the things that a caption names: spacy:MODEL for your own, classic:tags for lists.")
    ] = "classic:noun-phrases"
    tagger: Annotated[str, Option("An image classifier, hf:MODEL, whose labels are looked for.")] = ""
    least_tag: Annotated[float, Option("Labels of the tagger that are less probable are left out.", ge=0, le=1)] = 0.1
    most_tags: Annotated[int, Option("Labels of the tagger for one image at most.", ge=1)] = 10
    overlap: Annotated[
        float, Option("Boxes of one phrase that overlap more than this are one object (IoU).", ge=0, le=1)
    ] = 0.5

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.phrases_from,) if self.phrases_from and self._needs_phrases else ()

    @property
    def _needs_phrases(self) -> bool:
        return bool(getattr(self.backends()["model"], "needs_phrases", False))

    def config(self) -> dict[str, Any]:
        if self._needs_phrases and not (self.phrases or self.phrases_from or self.tagger):
            raise UserError(
                f"{self.model} finds what it is told to look for: give --phrases PHRASE, --phrases-from captions, or "
                "--tagger hf:MODEL"
            )
        return super().config()

    def load(self) -> Annotator:
        found = self.backends()
        segmenter = found["segmenter"].load() if "segmenter" in found else None
        extractor = found["extractor"].load() if self.columns else None
        tagger = found["tagger"].load() if "tagger" in found and self._needs_phrases else None
        return EntityFinder(found["model"].load(), segmenter, extractor, tagger, self)


class EntityFinder:
    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter | None,
        extractor: PhraseExtractor | None,
        tagger: ImageClassifier | None,
        options: Entities,
    ) -> None:
        self._detector, self._segmenter, self._extractor, self._tagger = detector, segmenter, extractor, tagger
        self._options = options

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        pixels = [image.pixels for image in images]
        detections = [
            suppressed(found, self._options.overlap) for found in self._detector.detect(pixels, self._phrases(images))
        ]
        return [_verdict(*parts) for parts in zip(pixels, detections, self._segments(pixels, detections), strict=True)]

    def _segments(
        self, pixels: Sequence[RgbImage], detections: Sequence[Sequence[Detection]]
    ) -> list[list[Segment | None]]:
        """Returns the detector's own masks where it gave some; the segmenter is asked for the others."""
        own = [[None if d.mask_HW is None else Segment(d.mask_HW) for d in found] for found in detections]
        if self._segmenter is None or all(mask is not None for found in own for mask in found):
            return own
        boxes = [[d.box for d in found if d.mask_HW is None] for found in detections]
        cut = [iter(segments) for segments in self._segmenter.segment(pixels, boxes)]
        return [[mask or next(rest) for mask in found] for found, rest in zip(own, cut, strict=True)]

    def _phrases(self, images: Sequence[StoredImage]) -> list[list[str]]:
        """Returns what to look for in each image: the user's list, what its caption names, what the tagger sees."""
        named: list[list[str]] = [[] for _ in images]
        if self._extractor is not None:
            captions = [image.one(self._options.phrases_from, "caption") or "" for image in images]
            named = self._extractor.phrases(captions)
        seen: list[list[str]] = [[] for _ in images]
        if self._tagger is not None:
            probabilities_NC = self._tagger.classify([image.pixels for image in images])
            seen = [self._tags(row_C, self._tagger.labels) for row_C in probabilities_NC]
        return [list(dict.fromkeys((*self._options.phrases, *parts[0], *parts[1]))) for parts in zip(named, seen)]

    def _tags(self, probabilities_C: NDArray[np.float32], labels: Sequence[str]) -> list[str]:
        """Returns the likely labels, best first; of synonyms with commas between them, as ImageNet has, the first."""
        best = np.argsort(-probabilities_C, kind="stable")[: self._options.most_tags]
        return [labels[n].partition(",")[0] for n in best if probabilities_C[n] >= self._options.least_tag]


def _verdict(image: RgbImage, detections: Sequence[Detection], segments: Sequence[Segment | None]) -> Verdict:
    if not detections:
        return Dropped(Reason.NO_ENTITY)
    regions = [Region(d.box, None if s is None else s.mask_HW) for d, s in zip(detections, segments, strict=True)]
    phrases = _phrases(image, detections, regions)
    area = image.shape[0] * image.shape[1]
    rows = [
        {
            "entity": number,
            "label": detection.phrase,
            "phrase": phrase,
            **{side: getattr(detection.box, side) for side in SIDES},
            "score": detection.score,
            "area_share": region.area / area,
            "mask_size": None if region.mask_HW is None else list(region.mask_HW.shape),
            "mask_counts": None if region.mask_HW is None else encode_mask(region.mask_HW),
            "mask_score": None if segment is None else segment.score,
        }
        for number, (detection, region, segment, phrase) in enumerate(zip(detections, regions, segments, phrases))
    ]
    return Found(tuple(rows))


def _phrases(image: RgbImage, detections: Sequence[Detection], regions: Sequence[Region]) -> list[str | None]:
    """Returns each object's label where no other has it; else what can be measured is added: color, place, size."""
    labels = [detection.phrase for detection in detections]
    phrases = list(labels)
    for label, count in Counter(labels).items():
        if label is not None and count == 1:
            continue
        places = [place for place, other in enumerate(labels) if other == label]
        for place, phrase in zip(places, refer(image, [regions[place] for place in places], label or "object")):
            phrases[place] = phrase
    return phrases
