"""Pictures for the docs: a few images side by side at one height, each with a line of text under it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from x2i.inspect.palette import LIGHT
from x2i.inspect.sheet.samples import save_sheet
from x2i.inspect.sheet.text_drawing import Font, Paragraph
from x2i.inspect.sheet.thumbnails import Broken, fit

if TYPE_CHECKING:
    from PIL.Image import Image

HEIGHT, WIDEST, GAP = 220, 320, 10
CAPTION = Font(14)


def write_strip(path: Path, images: Sequence[tuple[bytes, str]]) -> Path:
    """Draws encoded images in a row, each with its text below, and writes the row to `path` (.png, .jpg or .webp)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_sheet(_strip(images), path)
    return path


def _strip(images: Sequence[tuple[bytes, str]]) -> Image:
    from PIL import Image as PillowImage
    from PIL import ImageDraw as PillowDraw

    tiles = [fit(data, WIDEST, HEIGHT) for data, _ in images]
    widths = [HEIGHT if isinstance(tile, Broken) else tile.width for tile in tiles]
    texts = [Paragraph(text, CAPTION, width, 3) for (_, text), width in zip(images, widths, strict=True)]
    below = max(text.height for text in texts) + 6 if any(text for _, text in images) else 0
    row = PillowImage.new("RGB", (sum(widths) + GAP * (len(widths) - 1), HEIGHT + below), LIGHT.paper)
    draw, left = PillowDraw.Draw(row), 0
    for tile, text, width in zip(tiles, texts, widths, strict=True):
        if isinstance(tile, Broken):
            Paragraph(tile.why, CAPTION, width, 4).draw(draw, (left, HEIGHT // 2), LIGHT.failed)
        else:
            row.paste(tile, (left, (HEIGHT - tile.height) // 2))
        text.draw(draw, (left, HEIGHT + 6), LIGHT.ink)
        left += width + GAP
    return row
