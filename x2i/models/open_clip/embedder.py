"""`open_clip:MODEL` embeddings: image features of a CLIP of open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import ImageEmbedder, RgbImage
from x2i.models.open_clip.model import LoadedOpenClip, OpenClip


@dataclass(frozen=True)
class OpenClipEmbedder(OpenClip):
    """Image features of a model of open_clip."""

    title: ClassVar[str] = "Image features of a model of open_clip"

    def load(self) -> ImageEmbedder:
        model, transform, _ = self.loaded()
        return LoadedEmbedder(model, transform)


class LoadedEmbedder:
    def __init__(self, model: Any, transform: Any) -> None:
        self._loaded = LoadedOpenClip(model, transform)
        self.dimensions = int(model.text_projection.shape[-1]) if hasattr(model, "text_projection") else 0

    def embed(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns embeddings_ND: one L2-normalized row per image."""
        image_ND, _ = self._loaded.encoded(images)
        return np.asarray(image_ND.numpy())
