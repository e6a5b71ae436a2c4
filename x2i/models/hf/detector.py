"""`hf:MODEL` objects: Grounding DINO, MM-Grounding-DINO, OWLv2, OWL-ViT and SAM3, which look for phrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from x2i.errors import UserError
from x2i.models.abilities import Detection, Detector, RgbImage
from x2i.models.hf.batches import on_model
from x2i.models.hf.sam3 import SAM3, LoadedSam3
from x2i.models.phrase_boxes import PhraseDetector, detections, phrase_of_each_box, prompt_phrases
from x2i.models.torch_backend import HubBackend
from x2i.options import Option

ONE_PROMPT = ("grounding-dino", "mm-grounding-dino")
A_QUERY_EACH = ("owlv2", "owlvit")


@dataclass(frozen=True)
class HfDetector(HubBackend):
    """Zero-shot detection by transformers and the model's own processor. SAM3 gives each object its mask as well."""

    title: ClassVar[str] = "Objects by phrase: Grounding DINO, MM-Grounding-DINO, OWLv2, OWL-ViT, SAM3 in transformers"
    needs_phrases: ClassVar[bool] = True

    threshold: Annotated[
        float, Option("Objects with a lower score are not stored. Keep it low and select later.", ge=0, lt=1)
    ] = 0.2

    def load(self) -> Detector:
        transformers = self.require("transformers")
        if self.pretrained(transformers.AutoConfig).model_type in SAM3:
            model = self.network(transformers.Sam3Model)
            processor = self.pretrained(transformers.Sam3Processor)
            return LoadedSam3(model, processor, self.threshold)
        kind = transformers.AutoModelForZeroShotObjectDetection
        model = self.network(kind)
        known = dict.fromkeys(ONE_PROMPT, PromptDetector) | dict.fromkeys(A_QUERY_EACH, QueryDetector)
        if model.config.model_type not in known:
            raise UserError(f"{self.model}: a {model.config.model_type}; expected one of {', '.join((*known, *SAM3))}")
        return known[model.config.model_type](model, self.pretrained(transformers.AutoProcessor), self.threshold)


class LoadedDetector(PhraseDetector):
    def __init__(self, model: Any, processor: Any, threshold: float) -> None:
        self._model, self._processor, self._threshold = model, processor, threshold


class PromptDetector(LoadedDetector):
    """Grounding DINO reads all phrases as one prompt, "red car. tree.", and scores each box for each token of it."""

    def _detect(self, images: list[RgbImage], phrases: list[list[str]]) -> list[list[Detection]]:
        import torch

        asked = [prompt_phrases(of_image) for of_image in phrases]
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
            tokens_T, tokenizer = inputs["input_ids"][n], self._processor.tokenizer
            best_Q = phrase_of_each_box(kept_QT, tokens_T, tokenizer, len(phrases[n]))
            found.append(_detections(images[n], result, [phrases[n][best] for best in best_Q]))
        return found


class QueryDetector(LoadedDetector):
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
    return detections(image, result["boxes"].cpu().numpy(), result["scores"].tolist(), phrases)
