"""`open_clip:MODEL` image-text scores: the cosine of image and text embedding (CLIP, arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import ImageTextScorer, RgbImage
from x2i.models.open_clip.model import LoadedOpenClip, OpenClip


@dataclass(frozen=True)
class OpenClipScorer(OpenClip):
    """Image-text similarity by a model of open_clip."""

    title: ClassVar[str] = "Image-text similarity by a model of open_clip"

    def load(self) -> ImageTextScorer:
        return LoadedScorer(*self.loaded())


class LoadedScorer:
    def __init__(self, model: Any, transform: Any, tokenizer: Any) -> None:
        self._loaded, self._tokenizer = LoadedOpenClip(model, transform), tokenizer

    def score(self, images: Sequence[RgbImage], texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns scores_N in -1 to 1. Texts longer than the model's context are cut."""
        image_ND, text_ND = self._loaded.encoded(images, self._tokenizer(list(texts)))
        return np.asarray((image_ND * text_ND).sum(dim=1).numpy())
