"""The contact sheet: a row per sample, inputs | instruction | output | key and scores, several samples a task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from x2i.counting import counted
from x2i.errors import UserError
from x2i.inspect.formatting import describe_license, describe_number, file_name, task_title
from x2i.inspect.palette import LIGHT
from x2i.inspect.sheet.text_drawing import Font, Paragraph, draw_badge
from x2i.inspect.sheet.thumbnails import Broken, fit
from x2i.inspect.target import SampleView, Selection
from x2i.sample import Sample
from x2i.store.files.atomic import atomic_file

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.PngImagePlugin import PngInfo

WIDTH = 1600
MARGIN = 56
TILE = 208
GAP = 12
GUTTER = 28
NOTES_WIDTH = 270
MASKS = ("mask", "masks")
"""Parameters that are run lengths, which nobody reads; the gallery has them."""
ROW_GAP = 22
TITLE, HEADING, BODY, SMALL = Font(36, bold=True), Font(24, bold=True), Font(20), Font(15)
LABEL = Font(14)
MOST_TILES = 6


@dataclass(frozen=True)
class _Row:
    """One sample ready to be drawn: its pictures, its text, its notes, and how high the row is."""

    inputs: list[Image | Broken]
    hidden_inputs: int
    output: Image | Broken
    instruction: Paragraph
    notes: list[tuple[Paragraph, str]]
    height: int


def write_sheet(selection: Selection, path: Path, title: str) -> None:
    """Draws the selected samples to `path`, 1600 pixels wide."""
    save_sheet(draw_sheet(selection, title), path)


def drawn_by() -> PngInfo:
    """Returns the text that marks a PNG as drawn by x2i, so that no crawl takes it for a photograph."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", "x2i")
    return info


def save_sheet(sheet: Image, path: Path) -> None:
    """Writes a picture in the format that the name asks for. Raises UserError if that is no image format."""
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    if path.suffix.lower() not in formats:
        raise UserError(f"{path}: expected a name that ends in {', '.join(formats)}")
    with atomic_file(path) as stream:
        sheet.save(stream, formats[path.suffix.lower()], pnginfo=drawn_by())


def draw_sheet(selection: Selection, title: str) -> Image:
    """Returns the contact sheet as an RGB picture."""
    from PIL import Image as PillowImage
    from PIL import ImageDraw as PillowDraw

    groups = {task: [_row(view) for view in views] for task, views in selection.shown.items()}
    height = _head_height() + sum(_group_height(rows) for rows in groups.values()) + MARGIN
    sheet = PillowImage.new("RGB", (WIDTH, height), LIGHT.paper)
    draw = PillowDraw.Draw(sheet)
    top = _draw_head(draw, selection, title)
    for task, rows in groups.items():
        top = _draw_group_head(draw, task, selection, top)
        for number, row in enumerate(rows):
            _draw_row(sheet, draw, row, top)
            top += row.height + ROW_GAP
            if number < len(rows) - 1:
                draw.line((MARGIN, top - ROW_GAP // 2, WIDTH - MARGIN, top - ROW_GAP // 2), fill=LIGHT.tile)
        top += ROW_GAP
    return sheet


def _row(view: SampleView) -> _Row:
    sample, images = view.sample, view.images
    shown = images[:-1][:MOST_TILES]
    width = _output_left() - GUTTER - _text_left(len(shown))
    instruction = Paragraph(sample.instruction, BODY, width, most_lines=9)
    notes = list(_notes(sample))
    height = max(TILE, instruction.height, sum(note.height for note, _ in notes))
    side = _input_side(len(shown))
    inputs = [fit(data, side, side) for data in shown]
    return _Row(inputs, len(images) - 1 - len(shown), fit(images[-1], TILE, TILE), instruction, notes, height)


def _notes(sample: Sample) -> list[tuple[Paragraph, str]]:
    """The right-hand column: key, file names, recipe with its parameters, sizes, licenses, scores."""
    sizes = " ".join(f"{width}x{height}" for width, height in sample.sizes[:-1])
    output = "{}x{}".format(*sample.sizes[-1])
    drawn = {name: value for name, value in sample.recipe.parameters.items() if not name.endswith(MASKS)}
    parameters = json.dumps(drawn, ensure_ascii=False)[1:-1].replace('"', "")
    licenses = ", ".join(dict.fromkeys(describe_license(license) for license in sample.source.licenses if license))
    names = " ".join(filter(None, map(file_name, sample.source.urls)))
    lines = [
        (sample.key, LIGHT.ink, 2),
        (SMALL.fitted(names, NOTES_WIDTH), LIGHT.soft, 1),
        (f"{sample.recipe.name} v{sample.recipe.version}  {parameters}", LIGHT.soft, 3),
        (f"{sizes} > {output}" if sizes else output, LIGHT.soft, 1),
        (licenses, LIGHT.soft, 1),
        *((f"{name} {describe_number(value)}", LIGHT.accent, 1) for name, value in sorted(sample.scores.items())[:4]),
    ]
    return [(Paragraph(text, SMALL, NOTES_WIDTH, most), color) for text, color, most in lines if text]


def _draw_head(draw: ImageDraw, selection: Selection, title: str) -> int:
    tasks = len(selection.totals)
    about = (
        f"{counted(selection.total, 'samples')} of {counted(tasks, 'tasks')}; "
        f"{selection.count} shown, chosen by the hash of their keys"
    )
    TITLE.draw(draw, (MARGIN, MARGIN - 8), title, LIGHT.ink)
    BODY.draw(draw, (MARGIN, MARGIN - 8 + TITLE.line_height), about, LIGHT.soft)
    return _head_height()


def _head_height() -> int:
    return MARGIN + TITLE.line_height + BODY.line_height + 20


def _group_height(rows: list[_Row]) -> int:
    return HEADING.line_height + LABEL.line_height + 22 + sum(row.height + ROW_GAP for row in rows) + ROW_GAP


def _draw_group_head(draw: ImageDraw, task: str, selection: Selection, top: int) -> int:
    count, shards = selection.totals[task], selection.shards.get(task, 0)
    about = f"{count:,} {'sample' if count == 1 else 'samples'} in {shards} {'shard' if shards == 1 else 'shards'}"
    HEADING.draw(draw, (MARGIN, top), task_title(task), LIGHT.ink)
    right = WIDTH - MARGIN - SMALL.width(about)
    SMALL.draw(draw, (right, top + HEADING.line_height - SMALL.line_height - 3), about, LIGHT.soft)
    line = top + HEADING.line_height + 3
    draw.line((MARGIN, line, WIDTH - MARGIN, line), fill=LIGHT.accent, width=2)
    inputs = max((view.row["num_inputs"] for view in selection.shown[task]), default=0)
    labels = {MARGIN: "inputs" if inputs > 1 else "input"} if inputs else {}
    labels |= {_text_left(min(inputs, MOST_TILES)): "instruction", _output_left(): "output", _notes_left(): "sample"}
    for x, label in labels.items():
        LABEL.draw(draw, (x, line + 7), label, LIGHT.faint)
    return line + 7 + LABEL.line_height + 12


def _draw_row(sheet: Image, draw: ImageDraw, row: _Row, top: int) -> None:
    side = _input_side(len(row.inputs))
    for number, picture in enumerate(row.inputs):
        x = MARGIN + number * (side + GAP)
        _draw_tile(sheet, draw, picture, (x, top), side)
        draw_badge(draw, (x + 7, top + 7), number + 1, 18)
    if row.hidden_inputs:
        label = f"+ {row.hidden_inputs} more inputs"
        SMALL.draw(draw, (MARGIN, top + side + 6), label, LIGHT.failed)
    row.instruction.draw(draw, (_text_left(len(row.inputs)), top - 4), LIGHT.ink)
    _draw_tile(sheet, draw, row.output, (_output_left(), top), TILE)
    y = top - 2
    for note, color in row.notes:
        note.draw(draw, (_notes_left(), y), color)
        y += note.height


def _draw_tile(sheet: Image, draw: ImageDraw, picture: Image | Broken, at: tuple[int, int], side: int) -> None:
    x, y = at
    draw.rectangle((x, y, x + side - 1, y + side - 1), fill=LIGHT.tile)
    if isinstance(picture, Broken):
        Paragraph(picture.why, SMALL, side - 24, 6).draw(draw, (x + 12, y + 44), LIGHT.failed)
        return
    sheet.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))


def _input_side(inputs: int) -> int:
    """The side of an input's tile: more than three share the room of three."""
    return TILE if inputs <= 3 else (3 * TILE + 2 * GAP - (inputs - 1) * GAP) // inputs


def _text_left(inputs: int) -> int:
    return MARGIN + (inputs * (_input_side(inputs) + GAP) - GAP + GUTTER if inputs else 0)


def _output_left() -> int:
    return _notes_left() - GUTTER - TILE


def _notes_left() -> int:
    return WIDTH - MARGIN - NOTES_WIDTH
