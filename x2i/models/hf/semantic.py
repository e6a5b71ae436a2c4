"""`hf:MODEL` semantic segmentation: SegFormer, UperNet, Mask2Former, OneFormer and their like in transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage, SemanticSegmenter
from x2i.models.hf.segmentation import Segmentation, SegmentationBackend


@dataclass(frozen=True)
class HfSemantic(SegmentationBackend):
    """Classes of pixels by transformers' semantic or universal segmentation models and their own image processor."""

    title: ClassVar[str] = "Semantic segmentation by SegFormer, Mask2Former, OneFormer and their like in transformers"
    task: ClassVar[str] = "semantic"
    own_class: ClassVar[str] = "AutoModelForSemanticSegmentation"

    def load(self) -> SemanticSegmenter:
        return LoadedSemantic(self.loaded())


class LoadedSemantic:
    def __init__(self, loaded: Segmentation) -> None:
        self._loaded, config = loaded, loaded.model.config
        self.labels: Sequence[str] = tuple(config.id2label[n] for n in range(config.num_labels))

    def classes(self, images: Sequence[RgbImage]) -> list[NDArray[np.int64]]:
        """Returns the class numbers_HW of each image, at its own size. Images of one size go through together."""
        found: dict[int, NDArray[np.int64]] = {}
        for numbers, outputs, sizes in self._loaded.outputs(images):
            maps = self._loaded.processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)
            for number, classes_HW in zip(numbers, maps, strict=True):
                found[number] = classes_HW.cpu().numpy().astype(np.int64)
        return [found[number] for number in range(len(images))]
