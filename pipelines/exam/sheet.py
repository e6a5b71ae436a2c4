"""The sheet of an exam: what was asked, what was drawn, and whether it is right, seen at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipelines.exam.asking import Pixels
from x2i.image import encode
from x2i.sample import PLACEHOLDER_PATTERN
from x2i.store.files.atomic import write_bytes

PICTURE, GAP, COLUMNS = 128, 12, 6
LINE, TITLE = 15, 24
WIDTH = GAP + COLUMNS * (PICTURE + GAP)
RIGHT, WRONG, INK, QUIET = "#1a7f37", "#c62828", "#1f1f1f", "#6b6b6b"


@dataclass(frozen=True)
class Cell:
    """pictures: side by side, in the order of reading. marks: what is asked of them, and whether it is right."""

    pictures: Sequence[Pixels]
    text: str
    marks: Sequence[tuple[str, bool]]


@dataclass(frozen=True)
class Section:
    """Cells under a title. below: what is said under it. picture: of a file that is shown instead of cells."""

    title: str
    below: str = ""
    cells: Sequence[Cell] = ()
    picture: Path | None = None


def write_sheet(path: Path, sections: Sequence[Section]) -> None:
    """Writes the sheet as PNG."""
    parts: list[Image.Image] = []
    for section in sections:
        parts.append(_title(section))
        parts += [_row(row) for row in _rows(section.cells)]
        if section.picture is not None:
            with Image.open(section.picture) as opened:
                shown = Image.new("RGB", (WIDTH, opened.height), "white")
                shown.paste(opened.convert("RGB"), (0, 0))
            parts.append(shown)
    sheet = Image.new("RGB", (WIDTH, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    write_bytes(path, encode(np.asarray(sheet), "png"))


def _rows(cells: Sequence[Cell]) -> list[Sequence[Cell]]:
    """Returns the cells in rows that fit the sheet; those of a section are of one width."""
    columns = max(1, COLUMNS // max((len(cell.pictures) for cell in cells), default=1))
    return [cells[start : start + columns] for start in range(0, len(cells), columns)]


def _cell(cell: Cell) -> Image.Image:
    """Returns pictures side by side, the words under them, and what is right about them."""
    width = len(cell.pictures) * (PICTURE + GAP)
    font = ImageFont.load_default(11)
    lines = _wrapped(PLACEHOLDER_PATTERN.sub("the image", cell.text), width - GAP, font)
    image = Image.new("RGB", (width, PICTURE + (len(lines) + 1) * LINE + GAP), "white")
    pen = ImageDraw.Draw(image)
    for number, pixels in enumerate(cell.pictures):
        large = Image.fromarray(pixels).resize((PICTURE, PICTURE), Image.Resampling.BICUBIC)
        image.paste(large, (number * (PICTURE + GAP), 0))
    for number, line in enumerate(lines):
        pen.text((0, PICTURE + 3 + number * LINE), line, fill=INK, font=font)
    x = 0.0
    for what, is_right in cell.marks:
        word = f"{what} " if is_right else f"{what}! "
        pen.text((x, PICTURE + 3 + len(lines) * LINE), word, fill=RIGHT if is_right else WRONG, font=font)
        x += font.getlength(word)
    return image


def _row(cells: Sequence[Cell]) -> Image.Image:
    images = [_cell(cell) for cell in cells]
    row = Image.new("RGB", (WIDTH, max(image.height for image in images)), "white")
    x = GAP
    for image in images:
        row.paste(image, (x, 0))
        x += image.width
    return row


def _title(section: Section) -> Image.Image:
    font = ImageFont.load_default(12)
    lines = _wrapped(section.below, WIDTH - 2 * GAP, font)
    title = Image.new("RGB", (WIDTH, GAP + TITLE + len(lines) * LINE + GAP), "white")
    pen = ImageDraw.Draw(title)
    pen.text((GAP, GAP), section.title, fill=INK, font=ImageFont.load_default(17))
    for number, line in enumerate(lines):
        pen.text((GAP, GAP + TITLE + number * LINE), line, fill=QUIET, font=font)
    return title


def _wrapped(text: str, width: int, font: Any) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
