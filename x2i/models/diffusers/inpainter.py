"""`diffusers:MODEL`: any inpainting pipeline of diffusers, such as Stable Diffusion's or FLUX.1 Fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import Inpainter, RgbImage
from x2i.models.diffusers.pipelines import DiffusersBackend
from x2i.options import Option


@dataclass(frozen=True)
class DiffusersInpainter(DiffusersBackend):
    """The model as diffusers' AutoPipelineForInpainting loads it; only the hole of its picture is used."""

    title: ClassVar[str] = "Any inpainting pipeline of diffusers"

    prompt: Annotated[str, Option("What the filled place should show.")] = "empty background, nothing there"
    negative_prompt: Annotated[str, Option("What it should not show.")] = "object, person, animal, text"
    seed: Annotated[int, Option("Of the noise.", ge=0)] = 0

    def load(self) -> Inpainter:
        return LoadedInpainter(self.pipeline(self.require("diffusers").AutoPipelineForInpainting), self)


class LoadedInpainter:
    def __init__(self, pipeline: Any, options: DiffusersInpainter) -> None:
        self._pipeline, self._options = pipeline, options

    def inpaint(self, images: Sequence[RgbImage], masks: Sequence[NDArray[np.bool_]]) -> list[RgbImage]:
        return [self._fill(image, mask) for image, mask in zip(images, masks, strict=True)]

    def _fill(self, image: RgbImage, mask: NDArray[np.bool_]) -> RgbImage:
        options = self._options
        hole = np.repeat(mask[..., None].astype(np.uint8) * np.uint8(255), 3, 2)
        words = {"prompt": options.prompt, "negative_prompt": options.negative_prompt}
        made = options.paint(self._pipeline, image, options.seed, words, mask_image=hole)
        return np.where(mask[..., None], made, image)
