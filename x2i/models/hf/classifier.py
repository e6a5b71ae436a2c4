"""`hf:MODEL` image classes: any model of transformers' image-classification class, such as ViT, ConvNeXt or SigLIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import ImageClassifier, RgbImage
from x2i.models.torch_backend import HubBackend


@dataclass(frozen=True)
class HfClassifier(HubBackend):
    """Image classification by transformers' AutoModelForImageClassification and the model's own image processor."""

    title: ClassVar[str] = "Any image-classification model of transformers"

    def load(self) -> ImageClassifier:
        transformers = self.require("transformers")
        model = self.network(transformers.AutoModelForImageClassification)
        return LoadedClassifier(model, self.pretrained(transformers.AutoImageProcessor))


class LoadedClassifier:
    """A model whose config says multi_label_classification judges each label alone; else they exclude each other."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor
        config = model.config
        self.labels: Sequence[str] = tuple(config.id2label[number] for number in range(config.num_labels))
        self._is_multi_label = config.problem_type == "multi_label_classification" or config.num_labels == 1

    def classify(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns probabilities_NC in the order of `labels`."""
        import torch

        parameter = next(self._model.parameters())
        pixels_NCHW = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            logits_NC = self._model(pixel_values=pixels_NCHW.to(parameter.device, parameter.dtype)).logits.float()
            scores_NC = logits_NC.sigmoid() if self._is_multi_label else logits_NC.softmax(dim=1)
        return np.asarray(scores_NC.cpu().numpy())
