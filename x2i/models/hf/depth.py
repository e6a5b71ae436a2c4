"""`hf:MODEL` depth: any model of transformers' depth-estimation class, such as Depth Anything V2 or DPT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import DepthEstimator, RgbImage
from x2i.models.hf.batches import by_size
from x2i.models.torch_backend import HubBackend

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HfDepth(HubBackend):
    """Depth estimation by transformers' AutoModelForDepthEstimation and the model's own image processor."""

    title: ClassVar[str] = "Any depth-estimation model of transformers"

    def load(self) -> DepthEstimator:
        transformers = self.require("transformers")
        model = self.network(transformers.AutoModelForDepthEstimation)
        return LoadedDepth(model, self.pretrained(transformers.AutoImageProcessor))


class LoadedDepth:
    """Models differ in what they predict: `metric` ones give distances, which are inverted here."""

    def __init__(self, model: torch.nn.Module, processor: Any) -> None:
        self._model, self._processor = model, processor
        self._is_metric = getattr(model.config, "depth_estimation_type", "relative") == "metric"

    def depth(self, images: Sequence[RgbImage]) -> list[NDArray[np.float32]]:
        """Returns the inverse depth_HW of each image, at its own size. Images of one size go through together."""
        import torch

        found: dict[int, NDArray[np.float32]] = {}
        parameter = next(self._model.parameters())
        for numbers in by_size(images):
            inputs = self._processor(images=[images[number] for number in numbers], return_tensors="pt")
            with torch.inference_mode():
                outputs = self._model(pixel_values=inputs["pixel_values"].to(parameter.device, parameter.dtype))
            sizes = [images[number].shape[:2] for number in numbers]
            resized = self._processor.post_process_depth_estimation(outputs, target_sizes=sizes)
            for number, entry in zip(numbers, resized, strict=True):
                found[number] = self._inverse(entry["predicted_depth"].float().cpu().numpy())
        return [found[number] for number in range(len(images))]

    def _inverse(self, depth_HW: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.reciprocal(np.maximum(depth_HW, np.float32(1e-3))) if self._is_metric else depth_HW
