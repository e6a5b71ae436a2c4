"""`hf-instances:MODEL` objects of a model's own classes, each with its mask: Mask2Former, OneFormer and their like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.models.abilities import Box, Detection, Detector, RgbImage
from x2i.models.hf.segmentation import Segmentation, SegmentationBackend
from x2i.options import Option


@dataclass(frozen=True)
class HfInstances(SegmentationBackend):
    """Instances by transformers' universal or instance segmentation models and their own image processor."""

    title: ClassVar[str] = "Objects of a model's own classes, with masks: Mask2Former, OneFormer and their like"
    task: ClassVar[str] = "instance"
    own_class: ClassVar[str] = "AutoModelForInstanceSegmentation"

    threshold: Annotated[float, Option("Objects with a lower score are not stored.", ge=0, lt=1)] = 0.5

    def load(self) -> Detector:
        return LoadedInstances(self.loaded(), self.threshold)


class LoadedInstances:
    def __init__(self, loaded: Segmentation, threshold: float) -> None:
        self._loaded, self._threshold = loaded, threshold

    def detect(self, images: Sequence[RgbImage], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns the objects of each image, best score first. Images of one size go through together."""
        found: list[list[Detection]] = [[] for _ in images]
        for numbers, outputs, sizes in self._loaded.outputs(images):
            outputs.class_queries_logits = outputs.class_queries_logits.float()
            outputs.masks_queries_logits = outputs.masks_queries_logits.float()
            results = self._loaded.processor.post_process_instance_segmentation(
                outputs, threshold=self._threshold, target_sizes=sizes
            )
            for number, result in zip(numbers, results, strict=True):
                found[number] = sorted(self._detections(result), key=lambda detection: -detection.score)
        return found

    def _detections(self, result: Mapping[str, Any]) -> list[Detection]:
        detections = []
        for segment in result["segments_info"]:
            mask_HW = (result["segmentation"] == segment["id"]).cpu().numpy()
            rows, columns = np.nonzero(mask_HW)
            if len(rows):  # another object may cover it
                box = Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
                label = self._loaded.model.config.id2label[segment["label_id"]]
                detections.append(Detection(box, float(segment["score"]), label, mask_HW))
        return detections
