"""`hf:MODEL` semantic segmentation: SegFormer, UperNet, Mask2Former, OneFormer and their like in transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage, SemanticSegmenter
from x2i.models.hf.batches import by_size, on_model
from x2i.models.torch_backend import HubBackend


@dataclass(frozen=True)
class HfSemantic(HubBackend):
    """Classes of pixels by transformers' semantic or universal segmentation models and their own image processor."""

    title: ClassVar[str] = "Semantic segmentation by SegFormer, Mask2Former, OneFormer and their like in transformers"

    def load(self) -> SemanticSegmenter:
        transformers = self.require("transformers")
        config = self.pretrained(transformers.AutoConfig)
        universal = type(config) in transformers.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
        kind = (
            transformers.AutoModelForUniversalSegmentation
            if universal
            else transformers.AutoModelForSemanticSegmentation
        )
        model = self.network(kind)
        if config.model_type == "oneformer":  # it is told its task in words
            return LoadedSemantic(model, self.pretrained(transformers.OneFormerProcessor), {"task_inputs": "semantic"})
        return LoadedSemantic(model, self.pretrained(transformers.AutoImageProcessor), {})


class LoadedSemantic:
    """asked: what the processor is told for each image, beside the image."""

    def __init__(self, model: Any, processor: Any, asked: Mapping[str, str]) -> None:
        self._model, self._processor, self._asked = model, processor, asked
        self.labels: Sequence[str] = tuple(model.config.id2label[n] for n in range(model.config.num_labels))

    def classes(self, images: Sequence[RgbImage]) -> list[NDArray[np.int64]]:
        """Returns the class numbers_HW of each image, at its own size. Images of one size go through together."""
        import torch

        found: dict[int, NDArray[np.int64]] = {}
        for numbers in by_size(images):
            asked = {name: [text] * len(numbers) for name, text in self._asked.items()}
            inputs = self._processor(images=[images[number] for number in numbers], **asked, return_tensors="pt")
            with torch.inference_mode():
                outputs = self._model(**on_model(inputs, self._model))
            sizes = [images[number].shape[:2] for number in numbers]
            maps = self._processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)
            for number, classes_HW in zip(numbers, maps, strict=True):
                found[number] = classes_HW.cpu().numpy().astype(np.int64)
        return [found[number] for number in range(len(images))]
