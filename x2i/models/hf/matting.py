"""`hf:MODEL` matting: ViTMatte, which refines a trimap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.errors import UserError
from x2i.models.abilities import Matter, RgbImage
from x2i.models.hf.batches import by_size, on_model
from x2i.models.torch_backend import HubBackend


@dataclass(frozen=True)
class HfMatting(HubBackend):
    """Alpha mattes by transformers' ViTMatte and its own image processor."""

    title: ClassVar[str] = "Alpha mattes by ViTMatte in transformers"

    def load(self) -> Matter:
        transformers = self.require("transformers")
        kind = transformers.AutoModelForImageMatting
        model = self.network(kind)
        if model.config.model_type != "vitmatte":
            raise UserError(f"{self.model}: a {model.config.model_type}; expected a vitmatte, which refines trimaps")
        return LoadedMatting(model, self.pretrained(transformers.AutoImageProcessor))


class LoadedMatting:
    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor

    def alphas(self, images: Sequence[RgbImage], trimaps: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Returns the alpha_HW, 0 to 1, of each image with its trimap. Images of one size go through together."""
        import torch

        found: dict[int, NDArray[np.float32]] = {}
        for numbers in by_size(images):
            height, width = images[numbers[0]].shape[:2]
            inputs = self._processor(
                images=[images[number] for number in numbers],
                trimaps=[trimaps[number] for number in numbers],
                return_tensors="pt",
            )
            with torch.inference_mode():
                alphas_N1HW = self._model(**on_model(inputs, self._model)).alphas.float().cpu()
            for number, alpha_1HW in zip(numbers, alphas_N1HW, strict=True):
                found[number] = alpha_1HW[0, :height, :width].clamp(0, 1).numpy()  # the processor pads below and right
        return [found[number] for number in range(len(images))]
