"""`hf:MODEL` captions: any image-text-to-text model of transformers, asked through its own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from x2i.models.abilities import Caption, Captioner, PageText, RgbImage
from x2i.models.prompts import Question, asked, caption_of
from x2i.models.torch_backend import HubBackend
from x2i.reasons import Dropped


@dataclass(frozen=True)
class HfCaptioner(HubBackend, Question):
    """Captions by transformers' AutoModelForImageTextToText, decoded greedily."""

    title: ClassVar[str] = "Captions by any image-text-to-text model of transformers"

    def load(self) -> Captioner:
        transformers = self.require("transformers")
        model = self.network(transformers.AutoModelForImageTextToText)
        return LoadedCaptioner(self, model, self.pretrained(transformers.AutoProcessor))


class LoadedCaptioner:
    """Images of a batch go through together, padded on the left, where generation does not see it."""

    def __init__(self, backend: HfCaptioner, model: Any, processor: Any) -> None:
        self._backend, self._model, self._processor, self._words = backend, model, processor, backend.words
        processor.tokenizer.padding_side = "left"
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token

    def caption(self, images: Sequence[RgbImage], texts: Sequence[PageText]) -> list[Caption | Dropped]:
        import torch
        from PIL import Image

        chats = [
            [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": words}]}]
            for image, words in zip(map(Image.fromarray, images), (asked(self._words, text) for text in texts))
        ]
        inputs = self._processor.apply_chat_template(
            chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._model.device)  # fmt: skip
        floating = {name: value.to(self._model.dtype) for name, value in inputs.items() if value.is_floating_point()}
        with torch.inference_mode():
            tokens_BT = self._model.generate(
                **{**inputs, **floating}, max_new_tokens=self._backend.max_tokens, do_sample=False
            )
        read = inputs["attention_mask"].sum(dim=1).tolist()
        answers_BT = tokens_BT[:, inputs["input_ids"].shape[1] :].cpu()
        return [self._caption(answer_T, count) for answer_T, count in zip(answers_BT, read, strict=True)]

    def _caption(self, answer_T: Any, asked: int) -> Caption | Dropped:
        ends = self._model.generation_config.eos_token_id
        stops = set(ends if isinstance(ends, list) else [ends])
        tokens = answer_T.tolist()
        stop = next((place for place, token in enumerate(tokens) if token in stops), None)
        said = tokens if stop is None else tokens[:stop]
        text = self._processor.tokenizer.decode(said, skip_special_tokens=True)
        found = caption_of(text, "length" if stop is None else "stop", self._backend.schema)
        if isinstance(found, Dropped):
            return found
        return replace(found, prompt_tokens=asked, answer_tokens=len(said))
