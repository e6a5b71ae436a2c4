"""`hf-instances:MODEL` objects of a model's own classes, each with its mask: Mask2Former, OneFormer and their like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.models.abilities import Box, Detection, Detector, RgbImage
from x2i.models.hf.batches import by_size, on_model
from x2i.models.torch_backend import HubBackend
from x2i.options import Option


@dataclass(frozen=True)
class HfInstances(HubBackend):
    """Instances by transformers' universal or instance segmentation models and their own image processor."""

    title: ClassVar[str] = "Objects of a model's own classes, with masks: Mask2Former, OneFormer and their like"

    threshold: Annotated[float, Option("Objects with a lower score are not stored.", ge=0, lt=1)] = 0.5

    def load(self) -> Detector:
        transformers = self.require("transformers")
        config = self.pretrained(transformers.AutoConfig)
        universal = type(config) in transformers.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
        kind = (
            transformers.AutoModelForUniversalSegmentation
            if universal
            else transformers.AutoModelForInstanceSegmentation
        )
        model = self.network(kind)
        if config.model_type == "oneformer":  # it is told its task in words
            processor, asked = transformers.OneFormerProcessor, {"task_inputs": "instance"}
        else:
            processor, asked = transformers.AutoImageProcessor, {}
        return LoadedInstances(model, self.pretrained(processor), asked, self.threshold)


class LoadedInstances:
    """asked: what the processor is told for each image, beside the image."""

    def __init__(self, model: Any, processor: Any, asked: Mapping[str, str], threshold: float) -> None:
        self._model, self._processor, self._asked, self._threshold = model, processor, asked, threshold

    def detect(self, images: Sequence[RgbImage], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns the objects of each image, best score first. Images of one size go through together."""
        import torch

        found: list[list[Detection]] = [[] for _ in images]
        for numbers in by_size(images):
            asked = {name: [text] * len(numbers) for name, text in self._asked.items()}
            inputs = self._processor(images=[images[number] for number in numbers], **asked, return_tensors="pt")
            with torch.inference_mode():
                outputs = self._model(**on_model(inputs, self._model))
            outputs.class_queries_logits = outputs.class_queries_logits.float()
            outputs.masks_queries_logits = outputs.masks_queries_logits.float()
            results = self._processor.post_process_instance_segmentation(
                outputs, threshold=self._threshold, target_sizes=[images[number].shape[:2] for number in numbers]
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
                label = self._model.config.id2label[segment["label_id"]]
                detections.append(Detection(box, float(segment["score"]), label, mask_HW))
        return detections
