"""`hf:MODEL` masks from boxes: SAM, SAM2, SAM3, SAM-HQ and EdgeTAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from x2i.models.abilities import Box, RgbImage, Segment, Segmenter
from x2i.models.hf.batches import on_model
from x2i.models.torch_backend import HubBackend


@dataclass(frozen=True)
class HfSegmenter(HubBackend):
    """Mask generation by transformers' AutoModelForMaskGeneration and the model's own processor: one mask a box."""

    title: ClassVar[str] = "Masks from boxes: SAM, SAM2, SAM3 and their like in transformers"

    def load(self) -> Segmenter:
        transformers = self.require("transformers")
        model = self.network(transformers.AutoModelForMaskGeneration)
        # The published SAM3 is a model for films, whose own processor takes no boxes of images.
        of_sam3 = isinstance(model, transformers.Sam3TrackerModel)
        processor = transformers.Sam3TrackerProcessor if of_sam3 else transformers.AutoProcessor
        return LoadedSegmenter(model, self.pretrained(processor))


class LoadedSegmenter:
    """Images go through one by one, each with all its boxes: the processors cannot pad boxes."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor

    def segment(self, images: Sequence[RgbImage], boxes: Sequence[Sequence[Box]]) -> list[list[Segment | None]]:
        """Returns the mask in each box of each image with its predicted IoU; None where the mask is empty."""
        return [self._cut(image, of_image) if of_image else [] for image, of_image in zip(images, boxes, strict=True)]

    def _cut(self, image: RgbImage, boxes: Sequence[Box]) -> list[Segment | None]:
        import torch

        corners = [[[float(side) for side in (box.x0, box.y0, box.x1, box.y1)] for box in boxes]]
        inputs = self._processor(images=[image], input_boxes=corners, return_tensors="pt")
        sizes = [inputs.pop(name) for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
        with torch.inference_mode():
            outputs = self._model(**on_model(inputs, self._model), multimask_output=False)
        (masks_N1HW,) = self._processor.post_process_masks(outputs.pred_masks.float().cpu(), *sizes)
        scores_N = outputs.iou_scores.float().flatten().clamp(0, 1).tolist()
        return [
            Segment(mask_1HW[0].numpy(), score) if mask_1HW.any() else None
            for mask_1HW, score in zip(masks_N1HW, scores_N, strict=True)
        ]
