"""`omnigen generate`: generate one image from a prompt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from omnigen.commands.progress import progress
from omnigen.generate.options import GenerationOptions
from x2i.command_options import with_options
from x2i.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from omnigen.weights.lora.delta import Adapter

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


@with_options
def command(
    model: Annotated[Path, typer.Option(help="Folder of a training run, or a model folder.")],
    prompt: Annotated[
        str,
        typer.Option(help="What to generate. Put <img><|image_1|></img> where the first --image belongs, and so on."),
    ],
    out: Annotated[Path, typer.Option(help="Image to write: .png, .jpg or .webp.")],
    options: GenerationOptions,
    image: Annotated[list[Path] | None, typer.Option(help="An input image; repeat for image 2, 3.")] = None,
    lora: Annotated[
        list[Path] | None, typer.Option(help="A LoRA adapter's folder, in PEFT's layout; repeat to add several.")
    ] = None,
    lora_scale: Annotated[
        list[float] | None,
        typer.Option(help="How much of the adapter, 1 by default; once for all, or once for each --lora."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="Of the matrix products; auto is bf16 on a GPU.")
    ] = "auto",
) -> None:
    """Generate an image from a prompt, and from input images if there are any."""
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"--prompt: not UTF-8 from character {error.start + 1} on") from error
    _require_writable(out)
    adapters = read_scaled_adapters(lora or [], lora_scale or [])
    images = [read_image(path) for path in image or []]

    from omnigen.generate.pipeline import OmniGenPipeline
    from x2i.image.encode import encode
    from x2i.store.files.atomic import write_bytes

    pipeline = OmniGenPipeline.load(model, adapters, device, precision)
    with progress("generating") as advance:
        rgb = pipeline(prompt, images, options, lambda: advance(1, options.steps))
    write_bytes(out, encode(rgb, FORMATS[out.suffix.lower()]))
    typer.echo(f"{out}: {rgb.shape[1]} x {rgb.shape[0]} pixels")


def read_scaled_adapters(folders: Sequence[Path], scales: Sequence[float]) -> list[Adapter]:
    """Reads adapters; scales: none (1 for each), one for all, or one for each."""
    if len(scales) not in (0, 1, len(folders)) or (scales and not folders):
        raise UserError(
            f"--lora-scale: found {len(scales)} for {len(folders)} of --lora; give one for all, or one for each"
        )
    if not folders:
        return []
    from omnigen.weights.lora.files import read_adapters

    each = list(scales) * len(folders) if len(scales) == 1 else scales or [1.0] * len(folders)
    return [adapter for folder, scale in zip(folders, each) for adapter in read_adapters([folder], scale)]


def read_image(path: Path) -> np.ndarray:
    """Returns an image file as uint8 RGB (H, W, 3). Raises UserError if it cannot be read."""
    from x2i.image.decode import decode
    from x2i.reasons import DroppedError

    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"--image {path}: {error.strerror or error}") from error
    except DroppedError as error:
        raise UserError(f"--image {path}: not a readable image: {error}") from error


def _require_writable(out: Path) -> None:
    """Raises UserError unless `out` can be written: before minutes of work, not after."""
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"--out {out}: expected a name that ends in {', '.join(FORMATS)}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        problem = "is a folder" if out.is_dir() else "" if os.access(out.parent, os.W_OK) else "may not be written"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise UserError(f"--out {out}: {problem}; give another name")
