"""`omnigen generate`: generate images from prompts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from omnigen.commands.progress import progress
from omnigen.generate.options import GenerationOptions
from omnigen.generate.requests import Request, read_requests
from x2i.command_options import with_options
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.generate.metadata import GenerationRecord
    from omnigen.generate.pipeline import OmniGenPipeline
    from omnigen.weights.lora.delta import Adapter

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
Scaled = list[tuple[str, float]]


@with_options
def command(
    out: Annotated[
        Path, typer.Option(help="Image to write: .png, .jpg or .webp. Several get numbers before the ending.")
    ],
    options: GenerationOptions,
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
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="Of weights and products; auto is bf16 on a GPU.")
    ] = "auto",
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
        _generate_again(from_, model, out)
        return
    if model is None:
        raise UserError("--model: missing; give the folder of a training run, or a model folder")
    requests = _requests(prompt or [], prompts, image or [], options)
    scaled = scaled_adapters(lora or [], lora_scale or [])
    adapters = _read(scaled, any_base)

    from omnigen.generate.input_images import read_image_file
    from omnigen.generate.pipeline import OmniGenPipeline

    opened = [[read_image_file(path) for path in request.images] for request in requests]
    pipeline = OmniGenPipeline.from_pretrained(model, adapters, device, precision)
    record = _blank_record(pipeline, model, scaled, any_base)
    names = _names(out, len(requests), number)
    batches = -(-number // batch)
    total = batches * sum(request.options.steps for request in requests)
    with progress("generating") as advance:
        for request, images in zip(requests, opened):
            seeds = [request.options.seed + k for k in range(number)]
            for first in range(0, number, batch):
                some = tuple(seeds[first : first + batch])
                made = pipeline.draw(request.prompt, images, request.options, lambda: advance(1, total), some)
                for index, rgb in enumerate(made):
                    own = _with_request(record, request, some, index)
                    _write(next(names), rgb, own)


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


def scaled_adapters(folders: Sequence[Path], scales: Sequence[float]) -> Scaled:
    """Returns adapters' folders with their scales; scales: none (1 for each), one for all, or one for each."""
    if len(scales) not in (0, 1, len(folders)) or (scales and not folders):
        raise UserError(
            f"--lora-scale: found {len(scales)} for {len(folders)} of --lora; give one for all, or one for each"
        )
    each = list(scales) * len(folders) if len(scales) == 1 else scales or [1.0] * len(folders)
    return [(str(folder.resolve()), scale) for folder, scale in zip(folders, each)]


def _read(scaled: Sequence[tuple[str, float]], any_base: bool) -> list[Adapter]:
    from omnigen.weights.lora.files import read_adapters

    return [adapter for folder, scale in scaled for adapter in read_adapters([Path(folder)], scale, any_base)]


def _blank_record(pipeline: OmniGenPipeline, model: Path, scaled: Scaled, any_base: bool) -> GenerationRecord:
    """Returns the record of what is the same for all images."""
    import torch

    from omnigen.generate.metadata import GenerationRecord
    from omnigen.weights.fingerprint import fingerprint

    return GenerationRecord(
        model=str(model.resolve()),
        weights=fingerprint(pipeline.model.state_dict()),
        prompt="",
        options=GenerationOptions(),
        seeds=(),
        index=0,
        device=pipeline.model.pos_embed.device.type,
        precision="bf16" if pipeline.bf16 else "fp32",
        threads=torch.get_num_threads(),
        adapters=tuple(scaled),
        any_base=any_base,
    )


def _with_request(record: GenerationRecord, request: Request, seeds: tuple[int, ...], index: int) -> GenerationRecord:
    from omnigen.generate.metadata import digest

    images = tuple((str(path.resolve()), digest(path)) for path in request.images)
    options = replace(request.options, seed=seeds[index])
    return replace(record, prompt=request.prompt, options=options, seeds=seeds, index=index, images=images)


def _generate_again(path: Path, model: Path | None, out: Path) -> None:
    """Generates the image of a .png again: the same pixels, on a CPU of the same kind."""
    import torch

    from omnigen.generate.input_images import read_image_file
    from omnigen.generate.metadata import digest, read_record
    from omnigen.generate.pipeline import OmniGenPipeline
    from omnigen.weights.fingerprint import fingerprint

    record = read_record(path)
    for name, sha256 in record.images:
        if digest(Path(name)) != sha256:
            raise UserError(f"--from {path}: its input image {name} has changed since")
    torch.set_num_threads(record.threads)
    folder = model or Path(record.model)
    adapters = _read(record.adapters, record.any_base)
    pipeline = OmniGenPipeline.from_pretrained(folder, adapters, record.device, record.precision)
    if (found := fingerprint(pipeline.model.state_dict())) != record.weights:
        raise UserError(
            f"--from {path}: was generated with other weights than those of {folder}: fingerprint {record.weights} "
            f"there, {found} here; give the folder that has them with --model"
        )
    images = [read_image_file(Path(name)) for name, _ in record.images]
    with progress("generating") as advance:
        made = pipeline.draw(
            record.prompt, images, record.options, lambda: advance(1, record.options.steps), record.seeds
        )
    _write(out, made[record.index], record)


def _names(out: Path, num_requests: int, number: int) -> Iterator[Path]:
    """Yields the name of each image: `out` for a single one, otherwise with the prompt's and the image's number."""
    for request in range(1, num_requests + 1):
        for picture in range(1, number + 1):
            parts = [f"{request:03d}"] * (num_requests > 1) + [str(picture)] * (number > 1)
            yield out.with_stem("-".join([out.stem, *parts]))


def _write(path: Path, rgb: object, record: GenerationRecord) -> None:
    import numpy as np

    from omnigen.generate.metadata import encode_png
    from x2i.image.encode import encode
    from x2i.store.files.atomic import write_bytes

    pixels = np.asarray(rgb)
    kind = FORMATS[path.suffix.lower()]
    write_bytes(path, encode_png(pixels, record) if kind == "png" else encode(pixels, kind))
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
