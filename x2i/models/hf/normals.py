"""`hf:MODEL` surface normals: any model of transformers' normal-estimation class, such as Sapiens2 or TIPSv2 DPT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import NormalEstimator, RgbImage
from x2i.models.hf.batches import by_size, on_model
from x2i.models.torch_backend import HubBackend


@dataclass(frozen=True)
class HfNormals(HubBackend):
    """Surface normals by transformers' AutoModelForNormalEstimation and the model's own image processor."""

    title: ClassVar[str] = "Any normal-estimation model of transformers"

    def load(self) -> NormalEstimator:
        transformers = self.require("transformers")
        model = self.network(transformers.AutoModelForNormalEstimation)
        return LoadedNormals(model, self.pretrained(transformers.AutoImageProcessor))


class LoadedNormals:
    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor
        known = signature(processor.post_process_normal_estimation).parameters
        # A processor that pads its images needs their sizes to take the padding off again.
        self._pads = bool(getattr(processor, "do_pad", False)) and "source_sizes" in known

    def normals(self, images: Sequence[RgbImage]) -> list[NDArray[np.float32]]:
        """Returns the normals_HW3 of each image, at its own size. Images of one size go through together."""
        import torch

        found: dict[int, NDArray[np.float32]] = {}
        for numbers in by_size(images):
            inputs = self._processor(images=[images[number] for number in numbers], return_tensors="pt")
            with torch.inference_mode():
                outputs = self._model(**on_model(inputs, self._model))
            outputs.normals = outputs.normals.float()
            sizes = [images[number].shape[:2] for number in numbers]
            resized = self._processor.post_process_normal_estimation(
                outputs, **{"source_sizes" if self._pads else "target_sizes": sizes}
            )
            for number, entry in zip(numbers, resized, strict=True):
                unit_3HW = torch.nn.functional.normalize(entry["normals"], dim=0)  # resizing shortens them
                found[number] = unit_3HW.permute(1, 2, 0).cpu().numpy()
        return [found[number] for number in range(len(images))]
