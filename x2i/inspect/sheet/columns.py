"""The contact sheet of a column: images with what the column says about them drawn on and beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from x2i.counting import counted
from x2i.errors import UserError
from x2i.image.maps import decode_map
from x2i.image_record import ImageRecord
from x2i.inspect.formatting import file_name
from x2i.inspect.palette import LIGHT
from x2i.inspect.sheet.drawings import draw_map, draw_rows, words_of
from x2i.inspect.sheet.samples import BODY, LABEL, MARGIN, SMALL, TITLE, WIDTH, save_sheet
from x2i.inspect.sheet.text_drawing import Paragraph, draw_badge
from x2i.inspect.sheet.thumbnails import Broken, fit
from x2i.seeding import stable_hash
from x2i.store import Dataset, paths
from x2i.store.columns import read_column_rows
from x2i.store.files.cache import local_copy
from x2i.tables import TableSpec

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

GAP, TILE_GAP, ROW_GAP = 28, 6, 24
CELLS_IN_A_ROW = {1: 4, 2: 2, 3: 2}  # by the tiles of a cell
MOST_MAPS = 2
MOST_WORDS = 6
LEAST_HEIGHT = 120


@dataclass(frozen=True)
class _Cell:
    """One image ready to be drawn: its tiles (the image, then its maps), and a line of words for each row."""

    record: ImageRecord
    tiles: list[Image | Broken]
    words: list[Paragraph]
    numbered: bool

    @property
    def height(self) -> int:
        tallest = max(0 if isinstance(tile, Broken) else tile.height for tile in self.tiles) or LEAST_HEIGHT
        return tallest + 8 + LABEL.line_height + sum(words.height for words in self.words)


def write_column_sheet(dataset: Dataset, column: str, path: Path, limit: int) -> None:
    """Draws up to `limit` images that the column has rows about, chosen by the hash of their keys, to `path`.

    Raises UserError if the column has not been made.
    """
    files = sorted(paths.column_folder(dataset.root, column).glob(f"*{paths.INDEX_SUFFIX}"))
    if not files:
        raise UserError(f"{dataset.root}: no column {column!r}; `x2i inspect {dataset.root}` lists those there are")
    schema = pq.read_schema(local_copy(files[0]))
    spec = TableSpec.of(schema)
    title = spec.title if spec else column
    keys = {key for file in files for key in pq.read_table(local_copy(file), columns=["key"])["key"].to_pylist()}
    chosen = sorted(sorted(keys, key=lambda key: stable_hash("inspect", key))[:limit])
    maps = list(spec.image_fields if spec else ())[:MOST_MAPS]
    in_a_row = CELLS_IN_A_ROW[1 + len(maps)]
    width = (WIDTH - 2 * MARGIN - (in_a_row - 1) * GAP) // in_a_row
    cells = [_cell(dataset, column, key, schema, maps, width) for key in chosen]
    about = f"column {column} of {dataset.name}: {counted(len(keys), 'images')}, {len(chosen)} shown"
    save_sheet(_draw(cells, in_a_row, width, title, about), path)


def _cell(dataset: Dataset, column: str, key: str, schema: Any, maps: Sequence[str], width: int) -> _Cell:
    record, data = dataset.image(key)
    rows = read_column_rows(dataset.root, column, paths.image_partition(key), [key])[key]
    side = (width - len(maps) * TILE_GAP) // (1 + len(maps))
    picture = fit(data, side, side)
    if not isinstance(picture, Broken):
        draw_rows(picture, rows, picture.width / record.width)
    size = (side, side) if isinstance(picture, Broken) else picture.size
    tiles = [picture, *(_map(rows, name, size) for name in maps)]
    lines = words_of(schema, rows)
    numbered = any(name in schema.names for name in ("x0", "polygon", "mask_counts"))
    words = [Paragraph(line, SMALL, width - 26 * numbered, 2) for line in lines[:MOST_WORDS]]
    if len(lines) > MOST_WORDS:
        words.append(Paragraph(f"+ {len(lines) - MOST_WORDS} more", SMALL, width, 1))
    return _Cell(record, tiles, words, numbered)


def _map(rows: Sequence[Any], name: str, size: tuple[int, int]) -> Image | Broken:
    """Returns the first row's map at the size of the picture beside it."""
    from PIL.Image import Resampling

    encoded = next((row[name]["bytes"] for row in rows if row[name] and row[name]["bytes"]), None)
    if encoded is None:
        return Broken("nothing found")
    try:
        return draw_map(decode_map(encoded)).resize(size, Resampling.BOX)
    except ValueError as error:
        return Broken(str(error))


def _draw(cells: Sequence[_Cell], in_a_row: int, width: int, title: str, about: str) -> Image:
    from PIL import Image as PillowImage
    from PIL import ImageDraw as PillowDraw

    lines = [cells[start : start + in_a_row] for start in range(0, len(cells), in_a_row)]
    heights = [max(cell.height for cell in line) for line in lines]
    top = MARGIN + TITLE.line_height + BODY.line_height + 24
    sheet = PillowImage.new("RGB", (WIDTH, top + sum(heights) + ROW_GAP * len(lines) + MARGIN - ROW_GAP), LIGHT.paper)
    draw = PillowDraw.Draw(sheet)
    TITLE.draw(draw, (MARGIN, MARGIN - 8), title, LIGHT.ink)
    BODY.draw(draw, (MARGIN, MARGIN - 8 + TITLE.line_height), about, LIGHT.soft)
    for line, height in zip(lines, heights, strict=True):
        for place, cell in enumerate(line):
            _draw_cell(sheet, draw, cell, (MARGIN + place * (width + GAP), top), width)
        top += height + ROW_GAP
    return sheet


def _draw_cell(sheet: Image, draw: ImageDraw, cell: _Cell, at: tuple[int, int], width: int) -> None:
    x, y = at
    side = (width - (len(cell.tiles) - 1) * TILE_GAP) // len(cell.tiles)
    bottom = y
    for place, tile in enumerate(cell.tiles):
        left = x + place * (side + TILE_GAP)
        if isinstance(tile, Broken):
            tallest = max((other.height for other in cell.tiles if not isinstance(other, Broken)), default=LEAST_HEIGHT)
            draw.rectangle((left, y, left + side - 1, y + tallest - 1), fill=LIGHT.tile)
            Paragraph(tile.why, SMALL, side - 24, 4).draw(draw, (left + 12, y + 12), LIGHT.faint)
        else:
            sheet.paste(tile, (left, y))
            bottom = max(bottom, y + tile.height)
    bottom = max(bottom, y + LEAST_HEIGHT * (bottom == y)) + 8
    facts = f"{cell.record.key}   {cell.record.width}x{cell.record.height}"
    LABEL.draw(draw, (x, bottom), facts, LIGHT.faint)
    left = round(LABEL.width(facts)) + 16
    LABEL.draw(draw, (x + left, bottom), LABEL.fitted(file_name(cell.record.url), width - left), LIGHT.soft)
    bottom += LABEL.line_height
    for number, words in enumerate(cell.words, start=1):
        if cell.numbered and number <= MOST_WORDS:
            draw_badge(draw, (x, bottom + 2), number, 13)
        words.draw(draw, (x + (26 if cell.numbered else 0), bottom), LIGHT.ink)
        bottom += words.height
