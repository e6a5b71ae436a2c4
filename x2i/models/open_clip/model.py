"""Models of open_clip: from a folder, by architecture and tag, or by architecture and weight file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.models.torch_backend import TorchBackend
from x2i.models.weights import digest_of


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
