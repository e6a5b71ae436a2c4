"""Models of open_clip: from a folder, by architecture and tag, or by architecture and weight file."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from x2i.errors import UserError
from x2i.models.abilities import RgbImage
from x2i.models.torch_backend import TorchBackend
from x2i.models.weights import digest_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class OpenClip(TorchBackend):
    """model: FOLDER (with open_clip_config.json), ARCHITECTURE/TAG such as ViT-L-14/openai, or ARCHITECTURE=FILE."""

    @property
    def folder(self) -> Path | None:
        path = Path(self.model).expanduser()
        return path if path.is_dir() else None

    @property
    def file(self) -> Path | None:
        """The weight file of the user's, None if the weights are named by a tag of open_clip."""
        return Path(self.model.partition("=")[2]).expanduser() if "=" in self.model else None

    @property
    def architecture(self) -> str:
        """The model's name as open_clip takes it."""
        return f"local-dir:{self.folder}" if self.folder else self.model.split("=")[0].split("/")[0]

    @property
    def batches_at_once(self) -> int:
        """Two: one batch's pictures are resized while the network reads another's."""
        return 2

    def resolve(self) -> str:
        """Returns the digest of the weights, or their tag: a tag of open_clip stands for one file."""
        open_clip = self.require("open_clip")
        if self.folder:
            return digest_of(self.folder)
        if self.architecture not in open_clip.list_models():
            raise UserError(f"open_clip:{self.model}: no folder here, and no architecture: see open_clip.list_models()")
        if self.file:
            return digest_of(self.file)
        tag, tags = self.model.partition("/")[2], open_clip.list_pretrained_tags_by_model(self.architecture)
        if tag not in tags:
            raise UserError(f"open_clip:{self.model}: {tag!r} is no tag of {self.architecture}: {', '.join(tags)}")
        return f"tag:{tag}"

    def loaded(self) -> tuple[Any, Any, Any]:
        """Returns (model, image transform, tokenizer)."""
        open_clip = self.require("open_clip")
        try:
            model, _, transform = open_clip.create_model_and_transforms(
                self.architecture,
                pretrained=None if self.folder else str(self.file or self.model.partition("/")[2]),
                precision=self.precision,
                device=self.torch_device,
            )
        except RuntimeError as error:
            if "download" not in str(error):
                raise
            raise UserError(f"open_clip:{self.model}: {error} To use a file: {self.architecture}=FILE") from error
        return model.eval(), transform, open_clip.get_tokenizer(self.architecture)


class LoadedOpenClip:
    """A model in memory. Callers' threads resize pictures; one thread of its own runs the network, batch after batch.

    transform: open_clip's for inference, which ends in a conversion to a tensor and a normalization.
    """

    def __init__(self, model: Any, transform: Any) -> None:
        self._model = model
        *self._resizing, _, self._normalize = transform.transforms
        self._network = ThreadPoolExecutor(1)
        parameter = next(model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype

    def encoded(self, images: Sequence[RgbImage], tokens_NL: torch.Tensor | None = None) -> tuple[Any, Any]:
        """Returns the features of images and texts, fp32, a row of length 1 each; None for texts not given."""
        pixels_NHWC = np.stack([self._resized(image) for image in images])
        return self._network.submit(self._encode, pixels_NHWC, tokens_NL).result()

    def _resized(self, image: RgbImage) -> RgbImage:
        from PIL import Image

        picture = Image.fromarray(image)
        for step in self._resizing:
            picture = step(picture)
        return np.asarray(picture)

    def _encode(self, pixels_NHWC: RgbImage, tokens_NL: torch.Tensor | None) -> tuple[Any, Any]:
        import torch

        with torch.inference_mode():
            pixels_NCHW = torch.from_numpy(pixels_NHWC).to(self._device).permute(0, 3, 1, 2)
            prepared_NCHW = self._normalize(pixels_NCHW.contiguous().float().div(255)).to(self._dtype)
            image_ND = self._model.encode_image(prepared_NCHW, normalize=True).float().cpu()
            if tokens_NL is None:
                return image_ND, None
            return image_ND, self._model.encode_text(tokens_NL.to(self._device), normalize=True).float().cpu()
