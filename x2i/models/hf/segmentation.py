"""What semantic and instance segmentation share: universal models do both, and OneFormer is told which in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from x2i.models.abilities import RgbImage
from x2i.models.hf.batches import by_size, on_model
from x2i.models.torch_backend import HubBackend


@dataclass(frozen=True)
class SegmentationBackend(HubBackend):
    """task: as OneFormer calls it. own_class: transformers' Auto class of models that do this task alone."""

    task: ClassVar[str]
    own_class: ClassVar[str]

    def loaded(self) -> Segmentation:
        """Returns the network and its processor."""
        transformers = self.require("transformers")
        config = self.pretrained(transformers.AutoConfig)
        universal = type(config) in transformers.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
        model = self.network(
            transformers.AutoModelForUniversalSegmentation if universal else getattr(transformers, self.own_class)
        )
        if config.model_type == "oneformer":
            return Segmentation(model, self.pretrained(transformers.OneFormerProcessor), {"task_inputs": self.task})
        return Segmentation(model, self.pretrained(transformers.AutoImageProcessor), {})


@dataclass(frozen=True)
class Segmentation:
    """A network in memory. asked: what the processor is told for each image, beside the image."""

    model: Any
    processor: Any
    asked: Mapping[str, str]

    def outputs(self, images: Sequence[RgbImage]) -> Iterator[tuple[list[int], Any, list[tuple[int, int]]]]:
        """Yields (numbers of images of one size, what the network says, their sizes)."""
        import torch

        for numbers in by_size(images):
            asked = {name: [text] * len(numbers) for name, text in self.asked.items()}
            inputs = self.processor(images=[images[number] for number in numbers], **asked, return_tensors="pt")
            with torch.inference_mode():
                outputs = self.model(**on_model(inputs, self.model))
            yield numbers, outputs, [images[number].shape[:2] for number in numbers]
