"""What backends on diffusers share: options, and one image through a pipeline, at a size that it takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np

from x2i.image import ResizeMode, resize
from x2i.models.abilities import RgbImage
from x2i.models.torch_backend import HubBackend
from x2i.options import Option

MULTIPLE = 16  # of every side that pipelines take


@dataclass(frozen=True, kw_only=True)
class DiffusersBackend(HubBackend):
    """A backend whose model is a pipeline of diffusers: a folder with a model_index.json, or a repository."""

    side: Annotated[int, Option("Longest side in pixels at which the model works.", ge=64)] = 512
    steps: Annotated[int, Option("Denoising steps.", ge=1)] = 30
    guidance: Annotated[float, Option("Guidance scale for the words; 0: the pipeline's own.", ge=0)] = 0.0

    @property
    def batch_size(self) -> int:
        return 4

    def pipeline(self, kind: Any) -> Any:
        """Returns the model as a pipeline of class `kind`, on its device."""
        found = self.pretrained(kind, torch_dtype=self.torch_dtype, use_safetensors=True).to(self.torch_device)
        found.set_progress_bar_config(disable=True)
        return found

    def paint(
        self, pipeline: Any, image: RgbImage, seed: int, settings: Mapping[str, Any], **images: RgbImage
    ) -> RgbImage:
        """Returns what the pipeline makes of an image_HWC and further `images` of its size, at that size.

        Images go through one by one: pipelines differ in what they take as a batch. settings: those that the pipeline
        does not know are left out.
        """
        import torch
        from PIL import Image

        taken = inspect.signature(pipeline.__call__).parameters
        fitted = resize(image, ResizeMode.LONGEST, self.side)
        width, height = (max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in fitted.shape[1::-1])
        given = {"num_inference_steps": self.steps, "guidance_scale": self.guidance or None}
        given |= {"width": width, "height": height, **settings}
        known = {name: value for name, value in given.items() if value is not None and name in taken}
        small = {
            name: Image.fromarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA))
            for name, part in {"image": image, **images}.items()
        }
        # seeded on the CPU, so that it is the same noise on every device
        noise = torch.Generator("cpu").manual_seed(seed % 2**63)
        with torch.inference_mode():
            found = pipeline(**small, **known, generator=noise)
        made = np.asarray(found.images[0].convert("RGB"))
        return np.asarray(cv2.resize(made, image.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
