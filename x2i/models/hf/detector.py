"""`hf:MODEL` objects: Grounding DINO, MM-Grounding-DINO, OWLv2 and OWL-ViT, which look for phrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.errors import UserError
from x2i.models.abilities import Box, Detection, Detector, RgbImage
from x2i.models.hf.batches import alike, on_model
from x2i.models.torch_backend import HubBackend
from x2i.options import Option

ONE_PROMPT = ("grounding-dino", "mm-grounding-dino")
A_QUERY_EACH = ("owlv2", "owlvit")


@dataclass(frozen=True)
class HfDetector(HubBackend):
    """Zero-shot detection by transformers' AutoModelForZeroShotObjectDetection and the model's own processor."""

    title: ClassVar[str] = "Objects by phrase: Grounding DINO, MM-Grounding-DINO, OWLv2, OWL-ViT"
    needs_phrases: ClassVar[bool] = True

    threshold: Annotated[
        float, Option("Objects with a lower score are not stored. Keep it low and select later.", ge=0, lt=1)
    ] = 0.2

    def load(self) -> Detector:
        transformers = self.require("transformers")
        kind = transformers.AutoModelForZeroShotObjectDetection
        model = self.pretrained(kind, dtype=self.torch_dtype, use_safetensors=True).to(self.torch_device).eval()
        known = dict.fromkeys(ONE_PROMPT, PromptDetector) | dict.fromkeys(A_QUERY_EACH, QueryDetector)
        if model.config.model_type not in known:
            raise UserError(f"{self.model}: a {model.config.model_type}; expected one of {', '.join(known)}")
        return known[model.config.model_type](model, self.pretrained(transformers.AutoProcessor), self.threshold)


class PhraseDetector:
    """Images of one size and one number of phrases go through together."""

    def __init__(self, model: Any, processor: Any, threshold: float) -> None:
        self._model, self._processor, self._threshold = model, processor, threshold

    def detect(self, images: Sequence[RgbImage], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns what was found of each image's phrases, best score first; nothing where there are no phrases."""
        found: list[list[Detection]] = [[] for _ in images]
        for group in alike(len(images), lambda n: (images[n].shape, len(phrases[n]))):
            if phrases[group[0]]:
                batch = [images[n] for n in group], [list(phrases[n]) for n in group]
                for number, detections in zip(group, self._detect(*batch), strict=True):
                    found[number] = sorted(detections, key=lambda detection: -detection.score)
        return found

    def _detect(self, images: list[RgbImage], phrases: list[list[str]]) -> list[list[Detection]]:
        raise NotImplementedError


class PromptDetector(PhraseDetector):
    """Grounding DINO reads all phrases as one prompt, "red car. tree.", and scores each box for each token of it."""

    def _detect(self, images: list[RgbImage], phrases: list[list[str]]) -> list[list[Detection]]:
        import torch

        asked = [[phrase.lower().replace(".", " ").strip() for phrase in of_image] for of_image in phrases]
        inputs = self._processor(images=images, text=asked, padding=True, return_tensors="pt")
        with torch.inference_mode():
            outputs = self._model(**on_model(inputs, self._model))
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        results = self._processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], threshold=self._threshold, text_threshold=self._threshold,
            target_sizes=[image.shape[:2] for image in images],
        )  # fmt: skip
        found = []
        for n, result in enumerate(results):
            scores_QT = outputs.logits[n].sigmoid()
            kept_QT = scores_QT[scores_QT.max(dim=1).values > self._threshold]
            best_Q = self._best_phrases(kept_QT, inputs["input_ids"][n], len(phrases[n]))
            found.append(_detections(images[n], result, [phrases[n][best] for best in best_Q]))
        return found

    def _best_phrases(self, scores_QT: Any, tokens_T: Any, count: int) -> list[int]:
        """Returns for each box the number of the phrase that holds its best token."""
        import torch

        stop = self._processor.tokenizer.convert_tokens_to_ids(".")
        after_T = (tokens_T == stop).cumsum(dim=0)
        owner_T = after_T - (tokens_T == stop).long()  # a phrase owns the stop behind it
        special_T = torch.isin(tokens_T, torch.tensor(self._processor.tokenizer.all_special_ids))
        scores_QP = torch.stack(
            [
                scores_QT[:, : len(owner_T)].masked_fill(((owner_T != k) | special_T).to(scores_QT.device), -1).amax(1)
                for k in range(count)
            ],
            dim=1,
        )
        return list(scores_QP.argmax(dim=1).tolist())


class QueryDetector(PhraseDetector):
    """OWLv2 embeds each phrase alone and compares boxes with it."""

    def _detect(self, images: list[RgbImage], phrases: list[list[str]]) -> list[list[Detection]]:
        import torch

        inputs = self._processor(images=images, text=phrases, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            outputs = self._model(**on_model(inputs, self._model))
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        results = self._processor.post_process_grounded_object_detection(
            outputs, threshold=self._threshold, target_sizes=[image.shape[:2] for image in images], text_labels=phrases
        )
        return [
            _detections(image, result, result["text_labels"]) for image, result in zip(images, results, strict=True)
        ]


def _detections(image: RgbImage, result: dict[str, Any], phrases: Sequence[str]) -> list[Detection]:
    boxes, scores = result["boxes"].cpu().numpy(), result["scores"].tolist()
    height, width = image.shape[:2]
    found = []
    for box, score, phrase in zip(boxes, scores, phrases, strict=True):
        x0, y0 = (int(v) for v in np.floor(np.clip(box[:2], 0, (width, height))))
        x1, y1 = (int(v) for v in np.ceil(np.clip(box[2:], 0, (width, height))))
        if x0 < x1 and y0 < y1:
            found.append(Detection(Box(x0, y0, x1, y1), float(score), phrase))
    return found
