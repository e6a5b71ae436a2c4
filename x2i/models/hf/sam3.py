"""`hf:MODEL` objects and their masks by phrase: SAM3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from x2i.models.abilities import Detection, RgbImage
from x2i.models.phrase_boxes import detections

SAM3 = ("sam3", "sam3_video")
"""Model types that hold a SAM3 for images; the published weights say sam3_video."""


class LoadedSam3:
    """Images go through one by one: each is encoded once, and then searched for one phrase after the other."""

    def __init__(self, model: Any, processor: Any, threshold: float) -> None:
        self._model, self._processor, self._threshold = model, processor, threshold

    def detect(self, images: Sequence[RgbImage], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns what was found of each image's phrases with its mask, best score first."""
        return [
            sorted(self._of_image(image, asked), key=lambda found: -found.score) if asked else []
            for image, asked in zip(images, phrases, strict=True)
        ]

    def _of_image(self, image: RgbImage, phrases: Sequence[str]) -> list[Detection]:
        import torch

        model, found = self._model, []
        pixels = self._processor(images=[image], return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            seen = model.get_vision_features(pixels.to(model.device, model.dtype))
            for phrase in phrases:
                words = self._processor(text=[phrase], return_tensors="pt").to(model.device)
                outputs = model(
                    vision_embeds=seen, input_ids=words["input_ids"], attention_mask=words["attention_mask"]
                )
                for name in ("pred_logits", "pred_boxes", "pred_masks", "presence_logits"):
                    outputs[name] = outputs[name].float().cpu()
                (result,) = self._processor.post_process_instance_segmentation(
                    outputs, threshold=self._threshold, target_sizes=[image.shape[:2]]
                )
                masks = [mask_HW.numpy().astype(bool) for mask_HW in result["masks"]]
                boxes, scores = result["boxes"].numpy(), result["scores"].tolist()
                found += detections(image, boxes, scores, [phrase] * len(scores), masks)
        return found
