"""`hf:MODEL` semantic segmentation: SegFormer, UperNet, Mask2Former, MaskFormer and their like in transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.errors import UserError
from x2i.models.abilities import RgbImage, SemanticSegmenter
from x2i.models.hf.batches import by_size, on_model
from x2i.models.torch_backend import HubBackend


@dataclass(frozen=True)
class HfSemantic(HubBackend):
    """Classes of pixels by transformers' semantic or universal segmentation models and their own image processor."""

    title: ClassVar[str] = "Semantic segmentation by SegFormer, Mask2Former and their like in transformers"

    def load(self) -> SemanticSegmenter:
        transformers = self.require("transformers")
        config = self.pretrained(transformers.AutoConfig)
        if config.model_type == "oneformer":
            raise UserError(f"{self.model}: OneFormer asks for its task in words, which is not supported here")
        universal = type(config) in transformers.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
        kind = (
            transformers.AutoModelForUniversalSegmentation
            if universal
            else transformers.AutoModelForSemanticSegmentation
        )
        model = self.pretrained(kind, dtype=self.torch_dtype, use_safetensors=True).to(self.torch_device)
        return LoadedSemantic(model.eval(), self.pretrained(transformers.AutoImageProcessor))


class LoadedSemantic:
    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor
        self.labels: Sequence[str] = tuple(model.config.id2label[n] for n in range(model.config.num_labels))

    def classes(self, images: Sequence[RgbImage]) -> list[NDArray[np.int64]]:
        """Returns the class numbers_HW of each image, at its own size. Images of one size go through together."""
        import torch

        found: dict[int, NDArray[np.int64]] = {}
        for numbers in by_size(images):
            inputs = self._processor(images=[images[number] for number in numbers], return_tensors="pt")
            with torch.inference_mode():
                outputs = self._model(**on_model(inputs, self._model))
            sizes = [images[number].shape[:2] for number in numbers]
            maps = self._processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)
            for number, classes_HW in zip(numbers, maps, strict=True):
                found[number] = classes_HW.cpu().numpy().astype(np.int64)
        return [found[number] for number in range(len(images))]
