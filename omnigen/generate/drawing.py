"""Draws requests and keeps of every image how it was drawn, for `omnigen generate` and the page of `omnigen ui`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnigen.generate.loading import Loading
from omnigen.generate.metadata import GenerationRecord, digest, encode_png
from omnigen.generate.options import GenerationOptions
from omnigen.generate.requests import Request
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.generate.pipeline import OmniGenPipeline, Preview
    from omnigen.weights.lora.delta import Adapter

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
Scaled = Sequence[tuple[str, float]]
"""Folders of adapters, each with its scale."""


@dataclass(frozen=True)
class Drawing:
    """A pipeline, and the record of what is the same for all images that it draws."""

    pipeline: OmniGenPipeline
    record: GenerationRecord

    @classmethod
    def open(cls, model: Path, scaled: Scaled, any_base: bool, loading: Loading) -> Drawing:
        """Loads a model with adapters; raises what `OmniGenPipeline.from_pretrained` does."""
        import torch

        from omnigen.generate.pipeline import OmniGenPipeline
        from omnigen.weights.fingerprint import fingerprint

        pipeline = OmniGenPipeline.load(model, read_scaled(scaled, any_base), loading)
        record = GenerationRecord(
            model=str(model.resolve()),
            weights=fingerprint(pipeline.model.state_dict()),
            prompt="",
            options=GenerationOptions(),
            seeds=(),
            index=0,
            device=pipeline.device.type,
            precision=loading.chosen_precision(),
            threads=torch.get_num_threads(),
            adapters=tuple(scaled),
            any_base=any_base,
        )
        return cls(pipeline, record)

    def draw(
        self,
        request: Request,
        seeds: Sequence[int],
        on_step: Callable[[], object] | None = None,
        preview: Preview | None = None,
    ) -> list[tuple[Any, GenerationRecord]]:
        """Returns an image (uint8 RGB) for each seed, all computed together, with its record."""
        from omnigen.generate.input_images import read_image_file

        images = [read_image_file(path) for path in request.images]
        made = self.pipeline.draw(request.prompt, images, request.options, on_step, seeds, preview)
        files = tuple((str(path.resolve()), digest(path)) for path in request.images)
        return [
            (
                pixels,
                replace(
                    self.record,
                    prompt=request.prompt,
                    options=replace(request.options, seed=seeds[index]),
                    seeds=tuple(seeds),
                    index=index,
                    images=files,
                ),
            )
            for index, pixels in enumerate(made)
        ]


def read_scaled(scaled: Scaled, any_base: bool) -> list[Adapter]:
    """Returns the adapters in some folders."""
    from omnigen.weights.lora.files import read_adapters

    return [adapter for folder, scale in scaled for adapter in read_adapters([Path(folder)], scale, any_base)]


def write_image(path: Path, pixels: Any, record: GenerationRecord) -> None:
    """Writes an image in the format of its name; a PNG with its record. Raises UserError for another ending."""
    from x2i.image.encode import encode
    from x2i.store.files.atomic import write_bytes

    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path}: expected a name that ends in {', '.join(FORMATS)}")
    write_bytes(path, encode_png(pixels, record) if kind == "png" else encode(pixels, kind))
