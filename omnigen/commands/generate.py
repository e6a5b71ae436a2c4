"""`omnigen generate`: generate images from prompts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnigen.commands.progress import progress
from omnigen.generate.drawing import FORMATS
from omnigen.generate.loading import Loading
from omnigen.generate.options import GenerationOptions
from omnigen.generate.requests import Request, read_requests
from x2i.command_options import with_options
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.generate.metadata import GenerationRecord
    from omnigen.generate.pipeline import Preview


@with_options
def command(
    out: Annotated[
        Path, typer.Option(help="Image to write: .png, .jpg or .webp. Several get numbers before the ending.")
    ],
    options: GenerationOptions,
    loading: Loading,
    model: Annotated[
        Path | None, typer.Option(help="Folder of a training run, a model folder of any layout, or an adapter's.")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="What to generate; repeatable. Put <img><|image_1|></img> where the first --image belongs, and so on."
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A file of one JSON object a line: prompt, input_images, and any option by name."),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Generate the image of this .png of ours again; --model if the model was moved."),
    ] = None,
    image: Annotated[list[Path] | None, typer.Option(help="An input image; repeat for image 2, 3.")] = None,
    number: Annotated[
        int, typer.Option("--number", min=1, help="Images of each prompt; seeds count up from --seed.")
    ] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Images of a prompt to compute together.")] = 4,
    lora: Annotated[
        list[Path] | None, typer.Option(help="A LoRA adapter's folder, in PEFT's layout; repeat to add several.")
    ] = None,
    lora_scale: Annotated[
        list[float] | None,
        typer.Option(help="How much of the adapter, 1 by default; once for all, or once for each --lora."),
    ] = None,
    any_base: Annotated[
        bool, typer.Option("--any-base", help="Use adapters with other weights than they were trained beside.")
    ] = False,
    preview_every: Annotated[
        int, typer.Option(min=0, help="Steps after which NAME-preview shows what is becoming; 0: never.")
    ] = 0,
) -> None:
    """Generate images from prompts, and from input images if there are any.

    A .png keeps all that it was generated from, so that --from can generate it again.

    omnigen generate --model runs/demo --prompt "a cat on a wall" --out cat.png

    omnigen generate --from cat.png --out again.png
    """
    _require_writable(out)
    if from_ is not None:
        if prompt or prompts or image or lora:
            raise UserError("--from: takes prompt, images and adapters from the file; leave the others out")
        _generate_again(from_, model, out, loading)
        return
    if model is None:
        raise UserError("--model: missing; give the folder of a training run, or a model folder")
    requests = _requests(prompt or [], prompts, image or [], options)
    scaled = scaled_adapters(lora or [], lora_scale or [])

    from omnigen.generate.drawing import Drawing
    from omnigen.generate.input_images import read_image_file

    for request in requests:  # before minutes of loading
        for path in request.images:
            read_image_file(path)
    drawing = Drawing.open(model, scaled, any_base, loading)
    names = _names(out, len(requests), number)
    preview = _preview(preview_every, out)
    batches = -(-number // batch)
    total = batches * sum(request.options.steps for request in requests)
    with progress("generating") as advance:
        for request in requests:
            seeds = [request.options.seed + k for k in range(number)]
            for first in range(0, number, batch):
                some = tuple(seeds[first : first + batch])
                for pixels, record in drawing.draw(request, some, lambda: advance(1, total), preview):
                    _write(next(names), pixels, record)


def _requests(
    prompts: Sequence[str], file: Path | None, images: Sequence[Path], options: GenerationOptions
) -> list[Request]:
    if bool(prompts) == (file is not None):
        raise UserError("give --prompt, --prompts FILE or --from; see omnigen generate --help")
    if file is not None:
        if images:
            raise UserError("--image: not with --prompts; a line of the file names its own input_images")
        return read_requests(file, options)
    for prompt in prompts:
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"--prompt: not UTF-8 from character {error.start + 1} on") from error
    return [Request(prompt, tuple(images), options) for prompt in prompts]


def scaled_adapters(folders: Sequence[Path], scales: Sequence[float]) -> list[tuple[str, float]]:
    """Returns adapters' folders with their scales; scales: none (1 for each), one for all, or one for each."""
    if len(scales) not in (0, 1, len(folders)) or (scales and not folders):
        raise UserError(
            f"--lora-scale: found {len(scales)} for {len(folders)} of --lora; give one for all, or one for each"
        )
    each = list(scales) * len(folders) if len(scales) == 1 else scales or [1.0] * len(folders)
    return [(str(folder.resolve()), scale) for folder, scale in zip(folders, each)]


def _preview(every: int, out: Path) -> Preview | None:
    """Returns what writes the guess at the first image of each batch beside `out`."""
    if not every:
        return None
    from omnigen.generate.pipeline import Preview
    from x2i.image.encode import encode
    from x2i.store.files.atomic import write_bytes

    path = out.with_stem(f"{out.stem}-preview")
    return Preview(every, lambda step, images: write_bytes(path, encode(images[0], FORMATS[path.suffix.lower()])))


def _generate_again(path: Path, model: Path | None, out: Path, loading: Loading) -> None:
    """Generates the image of a .png again: the same pixels, on a CPU of the same kind."""
    import torch

    from omnigen.generate.drawing import Drawing
    from omnigen.generate.metadata import digest, read_record

    record = read_record(path)
    for name, sha256 in record.images:
        if digest(Path(name)) != sha256:
            raise UserError(f"--from {path}: its input image {name} has changed since")
    torch.set_num_threads(record.threads)
    folder = model or Path(record.model)
    loading = replace(loading, device=record.device, precision=record.precision)  # type: ignore[arg-type]
    drawing = Drawing.open(folder, record.adapters, record.any_base, loading)
    if (found := drawing.record.weights) != record.weights:
        raise UserError(
            f"--from {path}: was generated with other weights than those of {folder}: fingerprint {record.weights} "
            f"there, {found} here; give the folder that has them with --model"
        )
    request = Request(record.prompt, tuple(Path(name) for name, _ in record.images), record.options)
    with progress("generating") as advance:
        drawn = drawing.draw(request, record.seeds, lambda: advance(1, record.options.steps))
    _write(out, drawn[record.index][0], record)


def _names(out: Path, num_requests: int, number: int) -> Iterator[Path]:
    """Yields the name of each image: `out` for a single one, otherwise with the prompt's and the image's number."""
    for request in range(1, num_requests + 1):
        for picture in range(1, number + 1):
            parts = [f"{request:03d}"] * (num_requests > 1) + [str(picture)] * (number > 1)
            yield out.with_stem("-".join([out.stem, *parts]))


def _write(path: Path, pixels: Any, record: GenerationRecord) -> None:
    from omnigen.generate.drawing import write_image

    write_image(path, pixels, record)
    seed = record.seeds[record.index]
    typer.echo(f"{path}: {pixels.shape[1]} x {pixels.shape[0]} pixels, seed {seed}")


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
