"""`diffusers:MODEL`: any editing pipeline of diffusers, such as InstructPix2Pix, FLUX.1 Kontext or Qwen-Image-Edit."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.image import ResizeMode, resize
from x2i.models.abilities import ImageEditor, RgbImage
from x2i.models.torch_backend import HubBackend
from x2i.options import Option

MULTIPLE = 16  # of every side that pipelines take


@dataclass(frozen=True)
class DiffusersEditor(HubBackend):
    """The pipeline that the model's model_index.json names; it takes an image and a prompt."""

    title: ClassVar[str] = "Any image-editing pipeline of diffusers"

    side: Annotated[int, Option("Longest side in pixels at which the model works.", ge=64)] = 512
    steps: Annotated[int, Option("Denoising steps.", ge=1)] = 30
    guidance: Annotated[float, Option("Guidance scale for the words; 0: the pipeline's own.", ge=0)] = 0.0
    image_guidance: Annotated[
        float, Option("Guidance scale for the image, where the pipeline has one; 0: its own.", ge=0)
    ] = 0.0

    @property
    def batch_size(self) -> int:
        return 4

    def load(self) -> ImageEditor:
        diffusers = self.require("diffusers")
        pipeline = self.pretrained(diffusers.DiffusionPipeline, torch_dtype=self.torch_dtype, use_safetensors=True)
        pipeline = pipeline.to(self.torch_device)
        pipeline.set_progress_bar_config(disable=True)
        return LoadedEditor(pipeline, self)


class LoadedEditor:
    """Images go through one by one: pipelines differ in what they take as a batch."""

    def __init__(self, pipeline: Any, options: DiffusersEditor) -> None:
        self._pipeline = pipeline
        self._side = options.side
        given = {
            "num_inference_steps": options.steps,
            "guidance_scale": options.guidance or None,
            "image_guidance_scale": options.image_guidance or None,
        }
        taken = inspect.signature(pipeline.__call__).parameters
        self._settings = {name: value for name, value in given.items() if value is not None and name in taken}
        self._sized = {"height", "width"} <= set(taken)

    def edit(self, images: Sequence[RgbImage], instructions: Sequence[str], seeds: Sequence[int]) -> list[RgbImage]:
        return [self._edit(*one) for one in zip(images, instructions, seeds, strict=True)]

    def _edit(self, image: RgbImage, instruction: str, seed: int) -> RgbImage:
        import cv2
        import torch
        from PIL import Image

        fitted = resize(image, ResizeMode.LONGEST, self._side)
        size = tuple(max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in fitted.shape[1::-1])
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        settings = {**self._settings, **({"width": size[0], "height": size[1]} if self._sized else {})}
        # seeded on the CPU, so that it is the same noise on every device
        noise = torch.Generator("cpu").manual_seed(seed % 2**63)
        with torch.inference_mode():
            found = self._pipeline(prompt=instruction, image=Image.fromarray(small), generator=noise, **settings)
        made = np.asarray(found.images[0].convert("RGB"))
        return np.asarray(cv2.resize(made, image.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
