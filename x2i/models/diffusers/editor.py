"""`diffusers:MODEL`: any editing pipeline of diffusers, such as InstructPix2Pix, FLUX.1 Kontext or Qwen-Image-Edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from x2i.models.abilities import ImageEditor, RgbImage
from x2i.models.diffusers.pipelines import DiffusersBackend
from x2i.options import Option


@dataclass(frozen=True)
class DiffusersEditor(DiffusersBackend):
    """The pipeline that the model's model_index.json names; it takes an image and a prompt."""

    title: ClassVar[str] = "Any image-editing pipeline of diffusers"

    image_guidance: Annotated[
        float, Option("Guidance scale for the image, where the pipeline has one; 0: its own.", ge=0)
    ] = 0.0

    def load(self) -> ImageEditor:
        return LoadedEditor(self.pipeline(self.require("diffusers").DiffusionPipeline), self)


class LoadedEditor:
    def __init__(self, pipeline: Any, options: DiffusersEditor) -> None:
        self._pipeline, self._options = pipeline, options

    def edit(self, images: Sequence[RgbImage], instructions: Sequence[str], seeds: Sequence[int]) -> list[RgbImage]:
        fixed = {"image_guidance_scale": self._options.image_guidance or None}
        return [
            self._options.paint(self._pipeline, image, seed, {**fixed, "prompt": words})
            for image, words, seed in zip(images, instructions, seeds, strict=True)
        ]
