"""A grid of images that the network generates: inputs, target and result side by side, under their instruction."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from omnigen.data.loading.sample import ImageReader, LoadedSample, PlannedSample, load
from omnigen.generate.input_images import read_image
from omnigen.generate.options import GenerationOptions
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.images import TOKEN_PIXELS, prepare_image
from omnigen.train.config import LogConfig
from x2i.image import encode
from x2i.seeding import stable_hash
from x2i.store.files.atomic import write_bytes

CELL = 128  # pixels a side, at least, of a picture on the sheet
GAP, LINE = 6, 12
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class GridRow:
    """inputs in placeholder order; target None for a free prompt; generated: by the network. All uint8 (H, W, 3)."""

    title: str
    inputs: tuple[Pixels, ...]
    target: Pixels | None
    generated: Pixels


def sample_rows(
    pipeline: OmniGenPipeline,
    held_out: Sequence[PlannedSample],
    config: LogConfig,
    *,
    seed: int,
    shift: float = 1.0,
    share: tuple[int, int] = (0, 1),
) -> list[tuple[int, GridRow]]:
    """Generates the targets of `held_out`, and images of `config.prompts`, as `omnigen generate` would.

    shift: of the timesteps. share: (part, parts); of all rows, every parts-th from number `part` on. Returns rows with
    their numbers.
    """
    rows: list[tuple[int, GridRow]] = []
    for number in range(len(held_out) + len(config.prompts))[share[0] :: share[1]]:
        if number < len(held_out):
            sample = load(held_out[number], ImageReader(pipeline.max_side))
            if not isinstance(sample, LoadedSample):
                continue
            inputs, target = input_images(sample), sample.target.numpy()
            task, instruction = sample.planned.ref.task, sample.planned.ref.instruction
            height, width = target.shape[:2]
        else:
            prompt = config.prompts[number - len(held_out)]
            task, target = "prompt", None
            instruction, paths = (prompt, ()) if isinstance(prompt, str) else (prompt.prompt, prompt.input_images)
            inputs = tuple(prepare_image(read_image(path), pipeline.max_side) for path in paths)
            height = width = pipeline.max_side // TOKEN_PIXELS * TOKEN_PIXELS
            if inputs:
                height, width = inputs[0].shape[:2]
        options = GenerationOptions(
            height=height,
            width=width,
            steps=config.sample_steps,
            guidance=config.guidance,
            image_guidance=config.image_guidance,
            seed=stable_hash("grid", seed, instruction) >> 1,
            shift=shift,
        )
        (generated,) = pipeline.draw(instruction, inputs, options)
        rows.append((number, GridRow(f"{task}: {instruction}", inputs, target, generated)))
    return rows


def input_images(sample: LoadedSample) -> tuple[Pixels, ...]:
    """Returns the prepared input images of a sample in placeholder order, each once."""
    by_number = dict(zip(sample.planned.image_numbers, sample.references))
    return tuple(by_number[number].numpy() for number in sorted(by_number))


def write_grid(path: Path, rows: Sequence[GridRow]) -> None:
    """Writes the sheet as PNG: one line a row, its title above the pictures."""
    cell = max([CELL, *(max(row.generated.shape[:2]) for row in rows)])
    columns = max((len(row.inputs) for row in rows), default=0) + 2
    width = GAP + columns * (cell + GAP)
    lines = [_line(row, columns, cell, width) for row in rows]
    sheet = Image.new("RGB", (width, LINE + 2 * GAP + sum(line.height for line in lines)), "white")
    pen = ImageDraw.Draw(sheet)
    names = [f"input {number + 1}" for number in range(columns - 2)] + ["target", "generated"]
    for number, name in enumerate(names):
        pen.text((GAP + number * (cell + GAP), GAP), name, fill="gray")
    top = LINE + 2 * GAP
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height
    write_bytes(path, encode(np.asarray(sheet), "png"))


def _line(row: GridRow, columns: int, cell: int, width: int) -> Image.Image:
    """Returns one row of the sheet, as high as its pictures need."""
    title = textwrap.wrap(row.title, max(20, width // 7))
    cells = [*row.inputs, *[None] * (columns - 2 - len(row.inputs)), row.target, row.generated]
    pictures = [None if pixels is None else _enlarged(pixels, cell) for pixels in cells]
    top = len(title) * LINE + GAP
    height = top + max(picture.height for picture in pictures if picture is not None) + 2 * GAP
    line = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(line)
    for number, text in enumerate(title):
        pen.text((GAP, number * LINE), text, fill="black")
    for number, picture in enumerate(pictures):
        if picture is not None:
            line.paste(picture, (GAP + number * (cell + GAP), top))
    return line


def _enlarged(picture: Pixels, cell: int) -> Image.Image:
    image = Image.fromarray(picture)
    scale = max(1, cell // max(image.size))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
