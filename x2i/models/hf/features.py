"""`hf:MODEL` embeddings and image-text scores: DINOv2 and v3, SigLIP2, CLIP, and their like in transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import ImageEmbedder, ImageTextScorer, RgbImage
from x2i.models.hf.batches import on_model
from x2i.models.torch_backend import HubBackend


@dataclass(frozen=True)
class HfEmbedder(HubBackend):
    """Embeddings by any vision model of transformers: a two-tower model's image features, else the pooled output."""

    title: ClassVar[str] = "Embeddings by DINOv2, DINOv3, SigLIP2, CLIP or another vision model of transformers"

    def load(self) -> ImageEmbedder:
        return LoadedEmbedder(*_loaded(self))


@dataclass(frozen=True)
class HfScorer(HubBackend):
    """Image-text similarity by a two-tower model of transformers."""

    title: ClassVar[str] = "Image-text similarity by SigLIP2, CLIP or another two-tower model of transformers"

    def load(self) -> ImageTextScorer:
        model, images = _loaded(self)
        return LoadedScorer(model, images, self.pretrained(self.require("transformers").AutoTokenizer))


class LoadedEmbedder:
    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor
        config = model.config
        two_towers = hasattr(model, "get_image_features")
        self.dimensions = int(getattr(config, "projection_dim", 0) if two_towers else config.hidden_size)
        if two_towers and not self.dimensions:
            self.dimensions = int(config.vision_config.hidden_size)

    def embed(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns embeddings_ND: one L2-normalized row per image."""
        return _image_features(self._model, self._processor, images).cpu().numpy()


class LoadedScorer:
    def __init__(self, model: Any, processor: Any, tokenizer: Any) -> None:
        self._model, self._processor, self._tokenizer = model, processor, tokenizer

    def score(self, images: Sequence[RgbImage], texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns scores_N in -1 to 1. Texts longer than the model's context are cut."""
        import torch

        longest = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            list(texts), padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
        ).to(self._model.device)
        with torch.inference_mode():
            text_ND = _unit(_tensor(self._model.get_text_features(**tokens)))
        image_ND = _image_features(self._model, self._processor, images)
        return (image_ND * text_ND).sum(dim=1).cpu().numpy()


def _loaded(backend: HubBackend) -> tuple[Any, Any]:
    """Returns (model, image processor)."""
    transformers = backend.require("transformers")
    model = backend.network(transformers.AutoModel)
    return model, backend.pretrained(transformers.AutoImageProcessor)


def _image_features(model: Any, processor: Any, images: Sequence[RgbImage]) -> Any:
    """Returns L2-normalized features_ND in fp32."""
    import torch

    inputs = on_model(processor(images=list(images), return_tensors="pt"), model)  # SigLIP2 takes patches with a mask
    with torch.inference_mode():
        if hasattr(model, "get_image_features"):
            return _unit(_tensor(model.get_image_features(**inputs)))
        outputs = model(**inputs)
        pooled = getattr(outputs, "pooler_output", None)
        return _unit(outputs.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1))


def _tensor(output: Any) -> Any:
    """Some models give their features themselves, others as the pooled output."""
    return output if hasattr(output, "dim") else output.pooler_output


def _unit(features_ND: Any) -> Any:
    import torch

    return torch.nn.functional.normalize(features_ND.float(), dim=1)
