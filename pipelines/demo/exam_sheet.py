"""The sheet of an exam: what was asked, what was drawn, and whether it is right, seen at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipelines.demo.exam import ENOUGH, Answer, Pixels
from x2i.image import encode
from x2i.sample import PLACEHOLDER_PATTERN
from x2i.scenes.scene import Pairs
from x2i.store.files.atomic import write_bytes

PICTURE, GAP, COLUMNS = 128, 12, 6
LINE, TITLE = 15, 24
RIGHT, WRONG, INK, QUIET = "#1a7f37", "#c62828", "#1f1f1f", "#6b6b6b"


def write_sheet(
    path: Path,
    drawn: Sequence[Answer],
    edited: Sequence[Answer],
    found: Mapping[str, Any],
    trained: str,
    photographs: Path | None = None,
) -> None:
    """Writes the sheet as PNG. trained: how, in one line. photographs: a picture to show below, if it is there."""
    width = GAP + COLUMNS * (PICTURE + GAP)
    parts = [
        _title(
            "Held-out scenes, drawn from words", f"Judged from their pixels: green right, red! wrong. {trained}", width
        ),
    ]
    for pairs, words in (
        (Pairs.SEEN, "Colors and shapes that were trained on together"),
        (Pairs.UNSEEN, "Colors and shapes that were never trained on together"),
    ):
        of_pairs = [one for one in drawn if one.question.pairs is pairs]
        share = found[f"color_and_side_of_{pairs}_pairs"]
        parts.append(_title(words, f"color and side right: {share:.0%}", width))
        parts += [_row([_prompt(one) for one in row], width) for row in _rows(of_pairs, COLUMNS)]
    words = (
        f"the asked color covers the thing (IoU of {ENOUGH} or more): {found['recolored']:.0%}; edits are learned last"
    )
    parts.append(_title("Held-out scenes recolored: input, answer", words, width))
    parts += [_row([_edit(one) for one in row], width) for row in _rows(edited, COLUMNS // 2)]
    if photographs is not None and photographs.is_file():
        parts.append(_title("Beside it, held-out photographs", "too few photographs, and too little time", width))
        with Image.open(photographs) as opened:
            below = Image.new("RGB", (width, opened.height), "white")
            below.paste(opened.convert("RGB"), (0, 0))
        parts.append(below)
    sheet = Image.new("RGB", (width, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    write_bytes(path, encode(np.asarray(sheet), "png"))


def _rows(answers: Sequence[Answer], columns: int) -> list[Sequence[Answer]]:
    return [answers[start : start + columns] for start in range(0, len(answers), columns)]


def _prompt(answer: Answer) -> Image.Image:
    marks = [(what, answer.right[what]) for what in ("color", "side", "shape")]
    return _cell([answer.picture], answer.question.instruction, marks)


def _edit(answer: Answer) -> Image.Image:
    text = PLACEHOLDER_PATTERN.sub("", answer.question.instruction).strip()
    return _cell([answer.question.inputs[0], answer.picture], text, [("color in place", answer.overlap >= ENOUGH)])


def _cell(pictures: Sequence[Pixels], text: str, marks: Sequence[tuple[str, bool]]) -> Image.Image:
    """Returns pictures side by side, the words under them, and what is right about them."""
    width = len(pictures) * (PICTURE + GAP)
    font = ImageFont.load_default(11)
    lines = _wrapped(text, width - GAP, font)
    cell = Image.new("RGB", (width, PICTURE + (len(lines) + 1) * LINE + GAP), "white")
    pen = ImageDraw.Draw(cell)
    for number, pixels in enumerate(pictures):
        large = Image.fromarray(pixels).resize((PICTURE, PICTURE), Image.Resampling.BICUBIC)
        cell.paste(large, (number * (PICTURE + GAP), 0))
    for number, line in enumerate(lines):
        pen.text((0, PICTURE + 3 + number * LINE), line, fill=INK, font=font)
    x = 0.0
    for what, is_right in marks:
        word = f"{what} " if is_right else f"{what}! "
        pen.text((x, PICTURE + 3 + len(lines) * LINE), word, fill=RIGHT if is_right else WRONG, font=font)
        x += font.getlength(word)
    return cell


def _row(cells: Sequence[Image.Image], width: int) -> Image.Image:
    row = Image.new("RGB", (width, max(cell.height for cell in cells)), "white")
    x = GAP
    for cell in cells:
        row.paste(cell, (x, 0))
        x += cell.width
    return row


def _title(text: str, below: str, width: int) -> Image.Image:
    title = Image.new("RGB", (width, GAP + TITLE + LINE + GAP), "white")
    pen = ImageDraw.Draw(title)
    pen.text((GAP, GAP), text, fill=INK, font=ImageFont.load_default(17))
    pen.text((GAP, GAP + TITLE), below, fill=QUIET, font=ImageFont.load_default(12))
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
