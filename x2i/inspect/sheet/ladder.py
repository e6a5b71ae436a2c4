"""A recipe shown on one photograph: five samples of it, from the weakest to the strongest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from x2i.errors import UserError
from x2i.image import ResizeMode, decode, resize
from x2i.inspect.sheet.samples import drawn_by
from x2i.reasons import Dropped
from x2i.seeding import generator

if TYPE_CHECKING:
    import numpy as np

    from x2i.recipes.base import Recipe, Rendered

RUNGS, TRIED = 5, 25
PSNR = "input_psnr"
SIDE, GAP, TEXT = 256, 8, 9


def ladder(recipe: Recipe, image: np.ndarray) -> list[Rendered]:
    """Returns at most RUNGS samples of `recipe` on a photograph, uint8 RGB (height, width, 3).

    They are the quantiles of TRIED seeds in the order of `measure_of`, or the samples of the first seeds. Raises
    UserError if the recipe drops the photograph each time.
    """
    example = recipe.example([image, image[:, ::-1].copy()])
    made = [recipe.make(example.sources, example.metadata, generator("ladder", seed)) for seed in range(TRIED)]
    samples = [sample for sample in made if not isinstance(sample, Dropped)]
    if not samples:
        why = next(sample for sample in made if isinstance(sample, Dropped))
        raise UserError(f"recipe {recipe.name}: makes no sample of this photograph ({why.detail})")
    if (measure := measure_of(samples)) is None:
        return samples[:RUNGS]
    samples.sort(key=lambda sample: {**sample.parameters, **sample.scores}[measure], reverse=measure == PSNR)
    rungs = min(RUNGS, len(samples))
    return [samples[round(number * (len(samples) - 1) / max(1, rungs - 1))] for number in range(rungs)]


def measure_of(samples: Sequence[Rendered]) -> str | None:
    """Returns by what samples are put in order, None if by nothing.

    It is how far the input is from the photograph, the nearest first, or else the first number that was drawn.
    """
    if PSNR in samples[0].scores:
        return PSNR
    for name in samples[0].parameters:
        values = [sample.parameters.get(name) for sample in samples]
        if all(isinstance(value, Real) and not isinstance(value, bool) for value in values) and len(set(values)) > 1:
            return name
    return None


def write_ladder(recipe: Recipe, photograph: Path, path: Path) -> str:
    """Writes the ladder of `recipe` on the image file `photograph`: a row a sample, inputs, output, what was drawn.

    Returns how the rows are put in order, and what was made up for them. Raises UserError if the file cannot be read as
    an image.
    """
    from PIL import Image, ImageDraw

    from x2i.inspect.sheet.text_drawing import Font
    from x2i.reasons import DroppedError

    try:
        image = resize(decode(photograph.read_bytes()), ResizeMode.LONGEST, 512)
    except (OSError, DroppedError) as error:
        raise UserError(f"--image {photograph}: not readable as an image: {error}") from error
    samples = ladder(recipe, image)
    rows = []
    for sample in samples:
        pictures = [resize(picture, ResizeMode.LONGEST, SIDE) for picture in (*sample.inputs, sample.output)]
        rows.append((pictures, _lines({**sample.parameters, **sample.scores})))
    font = Font(TEXT + 3)
    text_height = font.line_height * max(len(lines) for _, lines in rows)
    width = max(sum(picture.shape[1] + GAP for picture in pictures) for pictures, _ in rows) + GAP + 260
    heights = [max(max(picture.shape[0] for picture in pictures), text_height) for pictures, _ in rows]
    sheet = Image.new("RGB", (width, sum(heights) + GAP * (len(rows) + 1)), "white")
    draw, y = ImageDraw.Draw(sheet), GAP
    for (pictures, lines), height in zip(rows, heights):
        x = GAP
        for picture in pictures:
            sheet.paste(Image.fromarray(picture), (x, y))
            x += picture.shape[1] + GAP
        for number, line in enumerate(lines):
            font.draw(draw, (x, y + number * font.line_height), line, "#333333")
        y += height + GAP
    if path.suffix not in (".png", ".jpg", ".webp"):
        raise UserError(f"--sheet {path}: expected a file name that ends in .png, .jpg or .webp")
    sheet.save(path, pnginfo=drawn_by())
    return _told(recipe, samples)


def _told(recipe: Recipe, samples: Sequence[Rendered]) -> str:
    measure = measure_of(samples)
    words = {None: "in the order of their seeds", PSNR: "from the weakest to the strongest"}
    read = [table.name for table in recipe.reads() if not table.optional]
    made_up = f"; {', '.join(read)}, which it reads from a dataset, is made up here" if read else ""
    return f"{len(samples)} samples {words.get(measure, f'in the order of {measure}')}{made_up}"


def _lines(values: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in values.items():
        parts = value if isinstance(value, list) and value and isinstance(value[0], str) else None
        lines += [f"{name}:", *(f"  {part}" for part in parts)] if parts else [f"{name}: {value}"[:46]]
    return lines[:17]
